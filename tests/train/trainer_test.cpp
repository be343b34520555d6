#include "vbon/train/trainer.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <fstream>
#include <sstream>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/objective/bond.hpp"
#include "vbon/objective/chosen_baseline.hpp"
#include "vbon/objective/jbond.hpp"
#include "vbon/objective/ppo.hpp"
#include "vbon/objective/preference.hpp"
#include "vbon/objective/reinforce.hpp"
#include "vbon/objective/wind.hpp"
#include "vbon/policy/tabular_policy.hpp"

namespace vbon::test {
namespace {
using policy::TabularPolicy;
using train::Phase;

struct Digits {
  static constexpr std::string_view name = "digits";
  Array operator()(const RolloutBatch& batch) const {
    Array reward(batch.responses());
    for (Index i = 0; i < batch.responses(); ++i) {
      reward[i] = 0;
      for (const TokenId token : batch.response(i)) reward[i] = 8 * reward[i] + token;
    }
    return reward;
  }
};

/// Raises (N - 1) log F - log(p / ref): the smallest objective that uses every array the trainer fills.
struct Bound {
  static constexpr std::string_view name = "bound";
  static constexpr Needs needs = {.ref_log_prob = true, .ref_reward = true, .min_group = 2};
  double n = 4;
  bool broken = false;
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    const Array score = (n - 1) * batch.log_cdf - per_response(batch, batch.log_prob - batch.ref_log_prob);
    Array advantage(batch.responses());
    for (Index p = 0; p < batch.prompts(); ++p) {
      const Index begin = batch.group_offset[static_cast<std::size_t>(p)], size = batch.samples(p);
      advantage.segment(begin, size) = score.segment(begin, size) - score.segment(begin, size).mean();
    }
    const double prompts = static_cast<double>(batch.prompts());
    return {broken ? NAN : -(batch.weight * score).sum() / prompts, per_token(batch, -(batch.weight * advantage) / prompts)};
  }
};
struct Likelihood {
  static constexpr std::string_view name = "likelihood";
  static constexpr Needs needs = {};
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    const double prompts = static_cast<double>(batch.prompts());
    return {-(batch.weight * per_response(batch, batch.log_prob)).sum() / prompts,
            per_token(batch, -batch.weight / prompts)};
  }
};

struct World {
  TabularPolicy reference{{.prompts = 6, .vocabulary = 8, .length = 2}};
  TabularPolicy policy;
  std::vector<Prompt> prompts;
  rollout::ReferenceCache cache;
  Digits reward;

  World() {
    auto values = reference.parameters();
    for (Index i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(RngKey{11, 0}.normal(static_cast<std::uint64_t>(i)));
    policy = reference;
    prompts = reference.prompts();
    for (auto& prompt : prompts) prompt.text = "prompt " + std::to_string(prompt.id);
    cache = rollout::ReferenceCache(reference, reward, prompts, {.samples = 64, .key = {1, 0}});
  }
  std::vector<Phase> phases(Index steps = 12) const {
    return {{.name = "warm",
             .source = train::Source::cache,
             .draw = train::Draw::best,
             .objective = Likelihood{},
             .steps = 5,
             .prompts = 4,
             .samples = 8,
             .rate = 0.02},
            {.name = "align",
             .objective = Bound{},
             .steps = steps,
             .prompts = 3,
             .samples = 4,
             .rate = 0.05,
             .schedule = {.decay = optim::Decay::linear, .warmup = 2, .total = steps + 1}}};
  }
  train::Trainer<TabularPolicy, Digits> trainer(train::TrainerOptions options) {
    return {policy, reference, reward, cache, rollout::AnyCdf(), optim::AdamW{.weight_decay = 0}, std::move(options)};
  }
  std::vector<float> weights() {
    const auto view = policy.parameters();
    return {view.begin(), view.end()};
  }
};

/// A baseline that is carried from step to step.
train::AnyObjective moving_average() {
  objective::Reinforce<objective::ChosenBaseline<objective::BatchMean>> rule{.beta = 0.1};
  rule.baseline.kind = objective::BaselineKind::moving_average;
  return rule;
}

std::string what(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    return std::string(error.code()) + ": " + error.what();
  }
  return "no error";
}
bool contains(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }
}  // namespace

TEST_CASE("training raises the win rate over the reference", "[train]") {
  World world;
  auto trainer = world.trainer({.seed = 5});
  std::vector<double> win;
  CHECK(trainer.run(world.prompts,
                    {{.name = "align", .objective = Bound{}, .steps = 150, .prompts = 6, .samples = 8, .rate = 0.03}},
                    {.step = [&](const train::StepReport& r) { win.push_back(train::metric(r.metrics, "win_rate")); }}) ==
        train::Outcome::finished);
  REQUIRE(win.size() == 150);
  double last = 0;
  for (std::size_t i = 130; i < 150; ++i) last += win[i] / 20;
  CHECK(win[0] == Approx(0.5).margin(0.15));
  CHECK(last > 0.7);
}

TEST_CASE("objectives with an anchor, a critic or a carried number learn, and a stopped run ends with the same bits",
          "[train][resume]") {
  const std::vector<train::AnyObjective> objectives = {
      objective::Jbond<>{}, objective::Wind{.beta = 0.1, .eta = 0.1},
      objective::VbonPpo{}, objective::Bond<>{.forward = {.n = 4}},
      moving_average(),     objective::Ppo{.beta = 0.3, .kl_target = 0.4, .horizon = 200}};
  for (const auto& objective : objectives) {
    CAPTURE(objective.name);
    const std::vector<Phase> phases = {{.name = "align",
                                        .draw = train::Draw::uniform,
                                        .objective = objective,
                                        .steps = 120,
                                        .prompts = 6,
                                        .samples = 8,
                                        .updates = 2,
                                        .rate = 0.03}};
    World whole;
    std::vector<double> win;
    whole.trainer({.seed = 5}).run(whole.prompts, phases, {.step = [&](const train::StepReport& r) {
                                     win.push_back(train::metric(r.metrics, "win_rate"));
                                   }});
    CHECK(whole.weights() != World().weights());
    double last = 0;
    for (std::size_t i = 100; i < 120; ++i) last += win[i] / 20;
    if (objective.name != "wind") CHECK(last > 0.6);  // wind logs its anchor's samples, four steps behind
    if (objective.name == "wind") CHECK(last > 0.5);
    TemporaryFolder folder;
    const train::TrainerOptions options{.seed = 5, .checkpoint_every = 7, .folder = folder.path()};
    int done = 0;
    World first, second;
    REQUIRE(first.trainer(options).run(first.prompts, phases, {.stop = [&] { return ++done == 45; }}) ==
            train::Outcome::stopped);
    REQUIRE(second.trainer(options).run(second.prompts, phases) == train::Outcome::finished);
    CHECK(second.weights() == whole.weights());
  }
}

TEST_CASE("pairs of a data set are learnt, without a reward", "[train][resume]") {
  World world;
  std::vector<Preference> pairs;
  for (std::uint64_t p = 0; p < 6; ++p)
    for (TokenId k = 0; k < 3; ++k) pairs.push_back({world.prompts[p], {TokenId(7 - k), 1}, {k, 1}});
  const std::vector<Phase> phases = {{.name = "align",
                                      .source = train::Source::pairs,
                                      .pairs = pairs,
                                      .objective = objective::Preference<objective::Dpo>{},
                                      .steps = 40,
                                      .prompts = 6,
                                      .rate = 0.05}};
  std::vector<double> accuracy;
  world.trainer({.seed = 5}).run(world.prompts, phases, {.step = [&](const train::StepReport& r) {
                                   accuracy.push_back(train::metric(r.metrics, "accuracy"));
                                 }});
  CHECK(accuracy.back() == Approx(1));
  for (const auto& pair : pairs) {
    RolloutBatch batch = preference_batch(std::span(&pair, 1), std::vector<std::size_t>{0});
    const Array gain = per_response(batch, world.policy.log_prob(batch) - world.reference.log_prob(batch));
    CHECK(gain[0] > gain[1] + 0.5);
  }
  TemporaryFolder folder;
  int done = 0;
  World first, second;
  const train::TrainerOptions options{.seed = 5, .folder = folder.path()};
  REQUIRE(first.trainer(options).run(first.prompts, phases, {.stop = [&] { return ++done == 17; }}) ==
          train::Outcome::stopped);
  REQUIRE(second.trainer(options).run(second.prompts, phases) == train::Outcome::finished);
  CHECK(second.weights() == world.weights());
  auto wrong = phases;
  wrong[0].pairs = {};
  CHECK(contains(what([&] { world.trainer({}).run(world.prompts, wrong); }), "0 preference pairs"));
  wrong = phases;
  wrong[0].objective = objective::VbonPpo{};
  CHECK(contains(what([&] { world.trainer({}).run(world.prompts, wrong); }),
                 "cannot learn from a data set of preference pairs"));
}

TEST_CASE("the critic of an enumerable policy learns the values", "[train]") {
  // Rewards without a policy step: rate 0, so V(context) must go to the mean reward of what follows.
  World world;
  policy::LinearCritic critic(6 * 9);
  optim::AdamW optimizer{.rate = 0.5, .weight_decay = 0};
  const RolloutBatch all = world.policy.enumerate(world.prompts);
  const Array reward = world.reward(all), target = per_token(all, reward), weight = per_token(all, all.weight);
  const Tensor<float> features = world.policy.features(all);
  for (int step = 0; step < 1500; ++step) {
    optimizer.rate = 0.5 / (1 + 0.05 * step);
    critic.backward(features, weight * (critic.value(features) - target));
    optimizer.step(critic.parameters(), critic.gradients());
  }
  const Array value = critic.value(features);
  for (Index p = 0; p < 6; ++p) {
    const Index begin = all.group_offset[static_cast<std::size_t>(p)], size = all.samples(p);
    const double mean = (all.weight * reward).segment(begin, size).sum();
    CHECK(value[all.offset[static_cast<std::size_t>(begin)]] == Approx(mean).epsilon(0.02));
  }
  CHECK_THROWS_AS(critic.value(Tensor<float>(3, 5)), ShapeError);
  CHECK_THROWS_AS(critic.backward(features, Array::Zero(2)), ShapeError);
}

TEST_CASE("micro-batches do not change what is learnt", "[train]") {
  std::vector<std::vector<float>> results;
  for (const Index micro_batch : {1, 8, 64}) {
    World world;
    world.trainer({.seed = 5, .micro_batch = micro_batch}).run(world.prompts, world.phases());
    results.push_back(world.weights());
  }
  CHECK(results[0] == results[1]);
  CHECK(results[0] == results[2]);
}

TEST_CASE("a run stopped after any step ends with the same bits and the same metrics", "[train][resume]") {
  TemporaryFolder whole_folder;
  World whole;
  whole.trainer({.seed = 5, .checkpoint_every = 4, .evaluate_every = 3, .folder = whole_folder.path()})
      .run(whole.prompts, whole.phases(), {.evaluate = [](Index done) {
             return train::Metrics{{"reward", double(done)}};
           }});
  for (int stop_at : {1, 4, 5, 6, 9, 16}) {
    CAPTURE(stop_at);
    TemporaryFolder folder;
    int done = 0;
    const train::TrainerOptions options{.seed = 5, .checkpoint_every = 4, .evaluate_every = 3, .folder = folder.path()};
    train::Callbacks callbacks{.evaluate =
                                   [](Index step) {
                                     return train::Metrics{{"reward", double(step)}};
                                   },
                               .stop = [&] { return ++done == stop_at; }};
    World first;
    REQUIRE(first.trainer(options).run(first.prompts, first.phases(), callbacks) == train::Outcome::stopped);
    World second;
    callbacks.stop = {};
    REQUIRE(second.trainer(options).run(second.prompts, second.phases(), callbacks) == train::Outcome::finished);
    CHECK(second.weights() == whole.weights());
    CHECK(text_of(folder / "metrics.jsonl") == text_of(whole_folder / "metrics.jsonl"));
    CHECK(text_of(folder / "metrics.csv") == text_of(whole_folder / "metrics.csv"));
  }
}

TEST_CASE("a run killed at any moment ends with the same bits", "[train][resume]") {
  World whole;
  whole.trainer({.seed = 5}).run(whole.prompts, whole.phases(40));
  const auto expected = whole.weights();
  for (int attempt = 0; attempt < 6; ++attempt) {
    TemporaryFolder folder;
    const train::TrainerOptions options{.seed = 5, .checkpoint_every = 2, .folder = folder.path()};
    World world;
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      set_threads(1);  // the parent's workers do not exist here
      world.trainer(options).run(world.prompts, world.phases(40));
      ::_exit(0);
    }
    ::usleep(static_cast<useconds_t>(3000 + 9000 * attempt));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    REQUIRE(world.trainer(options).run(world.prompts, world.phases(40)) == train::Outcome::finished);
    CHECK(world.weights() == expected);
  }
}

TEST_CASE("a torn newest checkpoint falls back to the one before", "[train][resume]") {
  TemporaryFolder folder;
  std::vector<float> values(1000, 1.0F);
  train::CheckpointStore store(folder.path());
  store.reserve({values});
  store.write({{"step", 1}}, {values});
  std::fill(values.begin(), values.end(), 2.0F);
  store.write({{"step", 2}}, {values});
  std::vector<float> read(1000);
  CHECK(train::CheckpointStore(folder.path()).read({read})->at("step") == 2);
  CHECK(read == values);
  {
    std::fstream file(folder / "checkpoint.1", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(2000);
    file.put('x');
  }
  const auto about = train::CheckpointStore(folder.path()).read({read});
  REQUIRE(about.has_value());
  CHECK(about->at("step") == 1);
  CHECK(read == std::vector<float>(1000, 1.0F));
  store = train::CheckpointStore(folder.path());
  store.write({{"step", 3}}, {values});  // must spare slot 0
  CHECK(train::CheckpointStore(folder.path()).read({read})->at("step") == 3);
  std::vector<float> other(999);
  CHECK_THROWS_AS(train::CheckpointStore(folder.path()).read({other}), ShapeError);
}

TEST_CASE("a full disk is told before anything is computed, and later costs nothing", "[train][error]") {
  ::signal(SIGXFSZ, SIG_IGN);
  TemporaryFolder folder;
  World world;
  const train::TrainerOptions options{.seed = 5, .checkpoint_every = 0, .folder = folder.path()};
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  rlimit small{4096, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const auto early = what([&] { world.trainer(options).run(world.prompts, world.phases()); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  INFO(early);
  CHECK(contains(early, "no_space: no room for checkpoints in " + folder.path().string()));
  CHECK(std::filesystem::is_empty(folder.path()));

  // The limit comes down in the middle: the metrics cannot grow, the checkpoint still can be written.
  int steps = 0;
  const auto late = what([&] {
    world.trainer(options).run(world.prompts, world.phases(), {.step = [&](const train::StepReport&) {
                                 if (++steps == 7) {
                                   small.rlim_cur = std::filesystem::file_size(folder / "metrics.jsonl") + 10;
                                   ::setrlimit(RLIMIT_FSIZE, &small);
                                 }
                               }});
  });
  ::setrlimit(RLIMIT_FSIZE, &before);
  INFO(late);
  CHECK(contains(late, "no_space"));
  World again, whole;
  again.trainer(options).run(again.prompts, again.phases());
  TemporaryFolder other;
  whole.trainer({.seed = 5, .checkpoint_every = 0, .folder = other.path()}).run(whole.prompts, whole.phases());
  CHECK(again.weights() == whole.weights());
  CHECK(text_of(folder / "metrics.jsonl") == text_of(other / "metrics.jsonl"));
}

TEST_CASE("a loss that is not finite stops with the step", "[train][error]") {
  World world;
  const auto text = what([&] {
    world.trainer({.seed = 1}).run(world.prompts, {{.name = "align", .objective = Bound{.broken = true}, .steps = 3}});
  });
  CHECK(contains(text, "non_finite: the loss is nan in phase 'align' at step 1"));
}

TEST_CASE("settings that cannot work are refused before the first step", "[train][error]") {
  World world;
  CHECK(contains(what([&] { world.trainer({}).run(world.prompts, {{.name = "x", .steps = 1}}); }), "has no objective"));
  CHECK(contains(
      what([&] { world.trainer({}).run(world.prompts, {{.name = "x", .objective = Bound{}, .steps = 1, .samples = 1}}); }),
      "group_too_small"));
  CHECK(contains(what([&] { world.trainer({.micro_batch = 0}); }), "micro_batch"));
  auto unknown = world.prompts;
  unknown[0].text = "never cached";
  CHECK(contains(
      what([&] { world.trainer({}).run(unknown, {{.name = "x", .objective = Bound{}, .steps = 2, .prompts = 6}}); }),
      "unknown_prompt"));
}

TEST_CASE("an epoch takes every prompt once", "[train]") {
  for (Index per_step : {1, 3, 4, 7}) {
    std::vector<std::size_t> all;
    for (Index step = 0; static_cast<Index>(all.size()) < 70; ++step)
      for (const auto i : train::examples_of_step(10, per_step, step, {3, 1})) all.push_back(i);
    for (std::size_t epoch = 0; epoch < 7; ++epoch) {
      std::vector<std::size_t> part(all.begin() + static_cast<Index>(10 * epoch),
                                    all.begin() + static_cast<Index>(10 * epoch + 10));
      std::sort(part.begin(), part.end());
      for (std::size_t i = 0; i < 10; ++i) CHECK(part[i] == i);
    }
  }
}

TEST_CASE("a systematic draw follows its weights to within one", "[train]") {
  const std::vector<double> weight = {0.5, 0.25, 0.125, 0.125, 0};
  std::vector<double> mean(5);
  for (int k = 0; k < 1000; ++k) {
    const auto drawn = train::systematic_draw(weight, 6, (k + 0.5) / 1000);
    REQUIRE(drawn.size() == 6);
    std::vector<int> count(5);
    for (const Index i : drawn) ++count[static_cast<std::size_t>(i)], mean[static_cast<std::size_t>(i)] += 1e-3;
    for (std::size_t i = 0; i < 5; ++i) CHECK(std::abs(count[i] - 6 * weight[i]) < 1);
  }
  for (std::size_t i = 0; i < 5; ++i) CHECK(mean[i] == Approx(6 * weight[i]).margin(1e-2));
}
}  // namespace vbon::test

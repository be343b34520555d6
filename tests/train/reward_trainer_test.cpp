#include "vbon/train/reward_trainer.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/program.hpp"
#include "support/reward_data.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::test {
namespace {
using reward::ExampleLoss;
using reward::TooLong;
using reward::TrainingExamples;
using train::RewardTrainerOptions;

TrainingExamples films(ExampleLoss loss, double centering) {
  const FilmTexts texts = film_texts();
  TrainingExamples all{.loss = loss, .centering = centering, .text = {}, .target = {}};
  for (std::size_t i = 0; i < texts.good.size(); ++i)
    for (const auto& [text, target] :
         {std::pair{texts.good[i], 1.0}, {texts.bad[i], loss == ExampleLoss::logistic ? 0 : -1.0}}) {
      all.text.push_back(text);
      if (loss == ExampleLoss::preference && target < 0) continue;  // the rejected one of its pair
      all.target.push_back(loss == ExampleLoss::preference ? 0.25 * static_cast<double>(i % 3) : target);
      all.group.push_back(i);
    }
  return all;
}

struct Result {
  std::vector<float> parameters;
  train::Metrics last, held_out;
  Index steps_run = 0;
};
/// Trains a tiny model anew; `stop_after` steps ask for the end.
Result trained(const std::string& kind, ExampleLoss loss, const RewardTrainerOptions& options, Index stop_after = 0,
               double centering = 0) {
  const TemporaryFolder folder;
  save_tiny_checkpoint(folder.path(), kind);
  Result result;
  reward::with_trainable_classifier(folder.path(), {.labels = 1, .key = {3, 0}}, [&](auto& model) {
    const auto data = reward::tokenize(model, films(loss, centering), model.max_length(), TooLong::cut);
    train::RewardTrainer trainer(model, data, data, optim::AdamW{.weight_decay = 0.01}, options);
    train::Callbacks callbacks;
    callbacks.step = [&](const train::StepReport& report) {
      result.last = report.metrics;
      ++result.steps_run;
    };
    callbacks.stop = [&] { return result.steps_run == stop_after; };
    const auto outcome = trainer.run(callbacks);
    CHECK((outcome == train::Outcome::finished) == (stop_after == 0));
    result.held_out = trainer.evaluate();
    const View<float> parameters = model.parameters();
    result.parameters.assign(parameters.begin(), parameters.end());
  });
  return result;
}
RewardTrainerOptions few_steps() { return {.seed = 5, .steps = 6, .batch = 10, .micro_batch = 10, .rate = 3e-3}; }
}  // namespace

TEST_CASE("training drives the accuracy on separable data to one", "[train][reward]") {
  const std::string kind = GENERATE("bert", "distilbert", "roberta", "gpt2", "llama");
  const auto loss = GENERATE(ExampleLoss::regression, ExampleLoss::logistic, ExampleLoss::preference);
  CAPTURE(kind, name_of(loss));
  const auto result = trained(kind, loss, {.seed = 1, .steps = 150, .batch = 16, .micro_batch = 16, .rate = 3e-3});
  CAPTURE(train::metric(result.held_out, "loss"));
  if (loss == ExampleLoss::regression)
    CHECK(train::metric(result.held_out, "pearson") > 0.95);
  else
    CHECK(train::metric(result.held_out, "accuracy") == 1);
}

TEST_CASE("the head alone learns too, on states that are computed once", "[train][reward]") {
  const std::string kind = GENERATE("bert", "distilbert", "roberta", "gpt2", "llama");
  CAPTURE(kind);
  const auto result = trained(kind, ExampleLoss::preference,
                              {.seed = 1, .head_only = true, .steps = 400, .batch = 16, .micro_batch = 16, .rate = 2e-2});
  CHECK(train::metric(result.held_out, "accuracy") > 0.9);
  CHECK(result.parameters.size() < 1000);
}

TEST_CASE("micro-batches change no parameter beyond rounding", "[train][reward][property]") {
  const std::string kind = GENERATE("distilbert", "llama");
  const auto loss = GENERATE(ExampleLoss::regression, ExampleLoss::logistic, ExampleLoss::preference);
  const bool head_only = GENERATE(false, true);
  CAPTURE(kind, name_of(loss), head_only);
  auto options = few_steps();
  options.head_only = head_only;
  // Differences of rewards say nothing of the head's bias: its gradient would be rounding, which Adam makes whole steps of.
  const double centering = 0.1;
  const auto whole = trained(kind, loss, options, 0, centering);
  for (const Index micro_batch : {1, 3, 7}) {
    CAPTURE(micro_batch);
    options.micro_batch = micro_batch;
    const auto parts = trained(kind, loss, options, 0, centering);
    REQUIRE(parts.parameters.size() == whole.parameters.size());
    double most = 0;
    for (std::size_t i = 0; i < whole.parameters.size(); ++i)
      most = std::max(most, std::abs(static_cast<double>(whole.parameters[i] - parts.parameters[i])));
    CHECK(most < 2e-3);  // Adam divides by the gradient's size, so rounding of a gradient near zero shows; steps are 3e-3
    CHECK(train::metric(parts.last, "loss") == Approx(train::metric(whole.last, "loss")).epsilon(1e-3));
    if (loss != ExampleLoss::regression)
      CHECK(train::metric(parts.last, "accuracy") == train::metric(whole.last, "accuracy"));
  }
}

TEST_CASE("the number of threads changes no bit", "[train][reward]") {
  const std::string kind = GENERATE("bert", "gpt2");
  const bool head_only = GENERATE(false, true);
  auto options = few_steps();
  options.head_only = head_only;
  const int before = thread_pool().threads();
  set_threads(1);
  const auto one = trained(kind, ExampleLoss::preference, options);
  set_threads(2);
  const auto two = trained(kind, ExampleLoss::preference, options);
  set_threads(before);
  CHECK(one.parameters == two.parameters);
  CHECK(one.held_out == two.held_out);
}

TEST_CASE("a run that was stopped or cut off ends with the same bits and the same metrics", "[train][reward][resume]") {
  const std::string kind = GENERATE("roberta", "llama");
  const bool head_only = GENERATE(false, true);
  CAPTURE(kind, head_only);
  const TemporaryFolder whole, parts;
  auto options = few_steps();
  options.head_only = head_only;
  options.checkpoint_every = 2;
  options.evaluate_every = 3;
  options.folder = whole.path();
  const auto once = trained(kind, ExampleLoss::regression, options);
  CHECK(once.steps_run == 6);
  options.folder = parts.path();
  CHECK(trained(kind, ExampleLoss::regression, options, 1).steps_run == 1);
  CHECK(trained(kind, ExampleLoss::regression, options, 2).steps_run == 2);
  // A kill behind a checkpoint leaves rows that the next start cuts off.
  io::JsonlWriter(parts / "metrics.jsonl").append(io::Json{{"phase", "train_reward"}, {"step", 99}});
  const auto rest = trained(kind, ExampleLoss::regression, options);
  CHECK(rest.steps_run == 3);
  CHECK(rest.parameters == once.parameters);
  CHECK(rest.held_out == once.held_out);
  for (const char* name : {"metrics.jsonl", "metrics.csv"}) {
    CAPTURE(name);
    CHECK(text_of(parts / name) == text_of(whole / name));
  }
  const auto again = trained(kind, ExampleLoss::regression, options);  // finished: nothing is left to do
  CHECK((again.steps_run == 0 && again.parameters == once.parameters));
}

TEST_CASE("a loss that is not finite ends training with the step", "[train][reward][error]") {
  try {
    trained("bert", ExampleLoss::regression,
            {.seed = 1, .steps = 50, .batch = 16, .micro_batch = 16, .rate = 1e30, .clip = INFINITY});
    FAIL("an error was expected");
  } catch (const RunError& error) {
    CHECK(error.code() == "non_finite");
    CHECK_THAT(error.what(), Catch::Contains("at step 2") && Catch::Contains("learning rate"));
  }
}

TEST_CASE("long texts are cut or their examples dropped, and both are counted", "[train][reward]") {
  const TemporaryFolder folder;
  save_tiny_checkpoint(folder.path(), "bert");
  const auto model = reward::TrainableEncoder::load(folder.path(), {.labels = 1});
  TrainingExamples pairs{.loss = ExampleLoss::preference,
                         .text = {" good", " bad", " good", " bad bad bad bad bad"},
                         .target = {0, 0},
                         .group = {0, 1}};
  const auto cut = reward::tokenize(model, pairs, 5, TooLong::cut);
  CHECK((cut.size() == 2 && cut.cut == 1 && cut.dropped == 0 && cut.longest == 7 && cut.tokens[3].size() == 5));
  const auto dropped = reward::tokenize(model, pairs, 5, TooLong::drop);
  CHECK((dropped.size() == 1 && dropped.cut == 0 && dropped.dropped == 1 && dropped.tokens.size() == 2));
}
}  // namespace vbon::test

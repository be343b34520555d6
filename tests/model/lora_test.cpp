#include "vbon/model/lora.hpp"

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_model.hpp"
#include "vbon/model/load.hpp"
#include "vbon/model/save.hpp"
#include "vbon/optim/adamw.hpp"
#include "vbon/parallel/parallel_for.hpp"

namespace vbon::test {
namespace {
using model::CausalLm;
using model::Forest;
using model::LoraAdapter;

Forest example() {
  Forest forest;
  const Index a = forest.add(random_tokens(5, 11, 1));
  forest.add_response(a, random_tokens(6, 11, 3));
  forest.add_response(a, random_tokens(1, 11, 4));
  forest.add_response(forest.add(random_tokens(3, 11, 2)), random_tokens(4, 11, 5));
  return forest;
}
std::vector<float> values_of(View<const float> view) { return {view.begin(), view.end()}; }

model::Shape small_shape(const std::string& kind) {
  auto shape = tiny_shape(kind);
  shape.vocab = 11;
  shape.width = 8;
  shape.heads = shape.kv_heads = 2;
  if (shape.family != "gpt_neox" && shape.family != "gpt2") shape.kv_heads = 1;
  shape.head_dim = 4;
  shape.inner = 10;
  shape.rope.dim = std::min<Index>(shape.rope.dim, 4);
  shape.bos = -1;
  return shape;
}
LoraAdapter adapter_for(const CausalLm& model, model::LoraOptions options = {.rank = 3, .alpha = 6}) {
  LoraAdapter adapter(model::lora_modules(model.parameters(), model.network()), options);
  adapter.initialize({3, 4});
  return adapter;
}
/// As training would leave it: B is not zero.
void move_adapter(CausalLm& model, double size = 0.3) {
  auto values = model.trainable().values();
  for (Index i = 0; i < values.size(); ++i)
    values[i] += static_cast<float>(size * RngKey{8, 9}.normal(static_cast<std::uint64_t>(i)));
  model.parameters_changed();
}
}  // namespace

TEST_CASE("an adapter begins as its base, bit for bit, and off it is the base", "[model][lora]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  CAPTURE(kind);
  auto model = tiny_model(small_shape(kind));
  const Forest forest = example();
  const auto before = log_probs(model, forest);
  model.attach(adapter_for(model));
  CHECK(log_probs(model, forest) == before);
  move_adapter(model);
  CHECK(log_probs(model, forest) != before);
  auto base = model.base();
  CHECK(base.parameters().data() == model.parameters().data());
  CHECK(log_probs(base, forest) == before);
  std::vector<double> kl(before.size());
  model.kl(forest, base, {}, kl);  // both at once
  for (const double value : kl) CHECK(value > 0);
}

TEST_CASE("the gradient of every adapter parameter agrees with finite differences", "[model][lora]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  CAPTURE(kind);
  auto model = tiny_model(small_shape(kind), 5);
  model.attach(adapter_for(model, {.rank = 2, .alpha = 3, .rank_stabilized = true}));
  move_adapter(model, 0.15);
  const Forest forest = example();
  std::vector<double> weight;
  for (Index i = 0; i < forest.reads(); ++i) weight.push_back(RngKey{1, 2}.normal(static_cast<std::uint64_t>(i)));
  const kernel::HeadOptions options{.inv_temperature = 1.25f};
  const auto loss = [&] {
    std::vector<double> values(weight.size());
    model.parameters_changed();
    model.log_prob(forest, options, values);
    double sum = 0;
    for (std::size_t i = 0; i < weight.size(); ++i) sum += weight[i] * values[i];
    return sum;
  };
  model.backward(forest, options, weight);
  const auto gradient = values_of(model.trainable().gradients());
  double scale = 0;
  for (const auto& p : model.trainable().list()) {
    double difference = 0, size = 0;
    for (Index k = p.offset; k < p.offset + p.size(); ++k) {
      float& value = model.trainable().values()[k];
      const float kept = value, h = 1e-3f;
      value = kept + h;
      const double up = loss(), up_at = static_cast<double>(value);
      value = kept - h;
      const double slope = (up - loss()) / (up_at - static_cast<double>(value));
      value = kept;
      difference = std::max(difference, std::abs(slope - static_cast<double>(gradient[static_cast<std::size_t>(k)])));
      size = std::max(size, std::abs(slope));
    }
    CAPTURE(p.name, size);
    CHECK(difference <= 3e-3 + 5e-3 * size);
    scale = std::max(scale, size);
  }
  CHECK(scale > 0.1);  // the differences mean something
}

TEST_CASE("only the adapter is trained: the base has no gradients and does not move", "[model][lora]") {
  policy::CausalLmPolicy<> policy(tiny_model("llama"), nullptr);
  const Index all = policy.parameters().size();
  policy.model().attach(adapter_for(policy.model()));
  CHECK(policy.parameters().size() == policy.model().adapter()->parameters().size());
  CHECK(policy.gradients().size() == policy.parameters().size());
  CHECK(policy.parameters().size() < all);
  CHECK(policy.model().parameters().gradients().empty());
  const auto kept = values_of(policy.model().parameters().values());
  auto reference = policy.reference();
  const auto batch = policy.sample(tiny_prompts(3), 4, {1, 2});
  const Array before = reference.log_prob(batch);
  optim::AdamW optimizer{.rate = 1e-2};
  policy.backward(batch, Array::Constant(batch.tokens(), -1));
  optimizer.step(policy.parameters(), policy.gradients());
  policy.parameters_changed();
  CHECK(optimizer.state.first.size() == policy.parameters().size());
  CHECK((policy.log_prob(batch) != before).any());
  CHECK((reference.log_prob(batch) == before).all());
  CHECK(values_of(policy.model().parameters().values()) == kept);
}

TEST_CASE("sampled log-probs of an adapted model are those of its training forward, to the bit", "[model][lora]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  CAPTURE(kind);
  policy::CausalLmPolicy<> policy(tiny_model(kind), nullptr);
  policy.model().attach(adapter_for(policy.model()));
  move_adapter(policy.model(), 0.1);
  policy.sampler.max_new_tokens = 20;
  const auto batch = policy.sample(tiny_prompts(3), 5, {1, 2});
  Array on_the_way;
  CHECK((policy.log_prob(batch) == batch.old_log_prob).all());
  policy.backward(batch, Array::Zero(batch.tokens()), &on_the_way);
  CHECK((on_the_way == batch.old_log_prob).all());
}

TEST_CASE("an adapted model gives the same bits on any number of threads and with any memory option", "[model][lora]") {
  const Forest forest = example();
  const std::vector<double> weight(static_cast<std::size_t>(forest.reads()), 0.5);
  const int threads = thread_pool().threads();
  const auto run = [&](int count, model::MemoryOptions memory) {
    set_threads(count);
    auto model = tiny_model("gpt2");
    model.memory = memory;
    model.attach(adapter_for(model));
    move_adapter(model);
    std::vector<double> values(weight.size());
    model.backward(forest, {}, weight, values);
    const auto g = model.trainable().gradients();
    values.insert(values.end(), g.begin(), g.end());
    return values;
  };
  const auto one = run(1, {});
  CHECK(one == run(3, {}));
  CHECK(one == run(2, {.recompute = true, .keep_packed = false}));
  set_threads(threads);
}

TEST_CASE("merged equals unmerged to rounding, and is what is saved", "[model][lora]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  CAPTURE(kind);
  auto model = tiny_model(small_shape(kind));
  model.attach(adapter_for(model));
  move_adapter(model);
  const Forest forest = example();
  const auto unmerged = log_probs(model, forest);
  const TemporaryFolder folder;
  model::save_causal_lm(model, folder / "adapted");
  CHECK(log_probs(model, forest) == unmerged);  // saving leaves the model as it is
  model.merge();
  CHECK(model.adapter() == nullptr);
  const auto merged = log_probs(model, forest);
  for (std::size_t i = 0; i < merged.size(); ++i) CHECK(merged[i] == Approx(unmerged[i]).margin(2e-5));
  auto loaded = model::load_causal_lm(folder / "adapted");
  CHECK(values_of(loaded.parameters().values()) == values_of(model.parameters().values()));
  CHECK(log_probs(loaded, forest) == merged);
  model.backward(forest, {}, std::vector<double>(merged.size(), 1));  // all of it is trained again
  CHECK(model.trainable().gradients().size() == model.parameters().size());
}

TEST_CASE("two adapters share one base; a clone has an adapter of its own", "[model][lora]") {
  auto first = tiny_model("llama");
  first.attach(adapter_for(first));
  move_adapter(first);
  auto second = first.base();
  second.attach(adapter_for(second));
  const Forest forest = example();
  const auto of_first = log_probs(first, forest);
  CHECK(log_probs(second, forest) != of_first);
  CHECK(log_probs(first, forest) == of_first);
  auto copy = first.clone();
  CHECK(log_probs(copy, forest) == of_first);
  move_adapter(first);
  CHECK(log_probs(copy, forest) == of_first);
  CHECK(copy.parameters().data() == first.parameters().data());
  auto apart = first.base().clone();  // the weights too, which are trained there
  CHECK(apart.parameters().data() != first.parameters().data());
  CHECK_FALSE(apart.parameters().frozen());
}

TEST_CASE("what an adapter cannot do is refused", "[model][lora][error]") {
  auto model = tiny_model("llama");
  CHECK_THROWS_AS(model.merge(), ConfigError);
  CHECK_THROWS_AS(adapter_for(model, {.rank = 0}), ConfigError);
  CHECK_THROWS_AS(adapter_for(model, {.alpha = NAN}), ConfigError);
  CHECK_THROWS_AS(LoraAdapter({}, {}), ConfigError);
  model.attach(adapter_for(model));
  auto base = model.base();
  CHECK_THROWS_AS(model.merge(), ConfigError);  // base would change
  const Forest forest = example();
  CHECK_THROWS_AS(base.backward(forest, {}, std::vector<double>(static_cast<std::size_t>(forest.reads()), 1)), ConfigError);
}
}  // namespace vbon::test

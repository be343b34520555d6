// What sampling keeps for the backward pass: the gradient of responses just drawn, to the bit, without a forward pass.
#include "vbon/model/recording.hpp"

#include <set>

#include "support/catch.hpp"
#include "support/tiny_model.hpp"
#include "vbon/parallel/parallel_for.hpp"
#include "vbon/policy/causal_lm_policy.hpp"
#include "vbon/rollout/collect.hpp"

namespace vbon::test {
namespace {
using CausalPolicy = policy::CausalLmPolicy<>;

/// Responses of many lengths: one token in five or so ends them.
CausalPolicy ending_policy(const std::string& kind) {
  auto policy = tiny_policy(kind);
  policy.sampler.max_new_tokens = 12;
  policy.sampler.eos = {1, 5, 9, 11, 20, 22};
  return policy;
}
Array some_derivative(const RolloutBatch& batch) {
  Array d(batch.tokens());
  for (Index t = 0; t < d.size(); ++t) d[t] = std::sin(static_cast<double>(t) + 1);
  return d;
}
std::vector<float> gradient_of(CausalPolicy& policy, const RolloutBatch& batch) {
  policy.zero_gradients();
  policy.backward(batch, some_derivative(batch));
  return {policy.gradients().begin(), policy.gradients().end()};
}
/// What a pass over all responses of some prompts reads.
model::Forest forest_of(const RolloutBatch& batch, Index first, Index count) {
  model::Forest forest;
  for (Index p = first; p < first + count; ++p) {
    const Index segment = forest.add(batch.prompt[static_cast<std::size_t>(p)].tokens);
    for (Index i = batch.group_offset[static_cast<std::size_t>(p)]; i < batch.group_offset[static_cast<std::size_t>(p) + 1];
         ++i)
      forest.add_response(segment, batch.response(i));
  }
  return forest;
}
bool recalls(CausalPolicy& policy, const model::Forest& forest) {
  std::vector<model::BlockActivations<>> kept(static_cast<std::size_t>(policy.shape().layers));
  model::Buffer<> stream;
  return policy.model().recording().recall(forest, policy.model().version(), kept, stream);
}
void adapt(CausalPolicy& policy) {
  auto& model = policy.model();
  model::LoraAdapter adapter(model::lora_modules(model.parameters(), model.network()), {.rank = 3, .alpha = 6});
  adapter.initialize({3, 4});
  model.attach(std::move(adapter));
  auto values = policy.parameters();
  for (Index i = 0; i < values.size(); ++i)
    values[i] += static_cast<float>(0.3 * RngKey{8, 9}.normal(static_cast<std::uint64_t>(i)));
  policy.parameters_changed();
}
}  // namespace

TEST_CASE("the gradient from recorded activations is that of a forward pass, to the bit", "[policy][recording]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  const bool adapted = GENERATE(false, true);
  const auto precision = GENERATE(kernel::Precision::float32, kernel::Precision::bfloat16);
  const bool recompute = GENERATE(false, true);
  CAPTURE(kind, adapted, static_cast<int>(precision), recompute);
  auto policy = ending_policy(kind);
  policy.model().set_precision(precision);
  if (adapted) adapt(policy);
  const auto prompts = tiny_prompts(4);
  const auto plain = policy.sample(prompts, 5, {1, 2});
  const auto expected = gradient_of(policy, plain);
  CHECK_FALSE(recalls(policy, forest_of(plain, 0, 4)));
  policy.model().memory.recompute = recompute;
  CHECK(gradient_of(policy, plain) == expected);

  const auto batch = policy.sample_for_backward(prompts, 5, {1, 2});
  CHECK(batch.token == plain.token);
  CHECK((batch.old_log_prob == plain.old_log_prob).all());
  std::set<Index> lengths;
  for (Index i = 0; i < batch.responses(); ++i) lengths.insert(batch.length(i));
  CHECK(lengths.size() > 3);
  CHECK(recalls(policy, forest_of(batch, 0, 4)));
  CHECK(recalls(policy, forest_of(batch, 2, 1)));
  CHECK(gradient_of(policy, batch) == expected);
  CHECK(gradient_of(policy, batch) == expected);  // and once more: nothing of it was used up

  // In passes that begin and end inside a prompt's responses, as without a recording.
  policy.passes.activation_bytes = 20 * model::kept_bytes_per_row(policy.shape(), policy.model().memory);
  const auto in_pieces = gradient_of(policy, batch);
  policy.parameters_changed();
  CHECK_FALSE(recalls(policy, forest_of(batch, 0, 4)));
  CHECK(gradient_of(policy, batch) == in_pieces);
  CHECK(in_pieces != expected);  // another order of the sums: the passes were other ones
}

TEST_CASE("a recording serves parts of a batch in any order, and equal prompts", "[policy][recording]") {
  auto policy = ending_policy("qwen3");
  auto prompts = tiny_prompts(3);
  prompts.push_back(prompts[0]);
  prompts.back().id = 77;
  const auto plain = policy.sample(prompts, 4, {3, 4});
  std::vector<std::vector<float>> expected;
  for (Index p = 0; p < 4; ++p) expected.push_back(gradient_of(policy, rollout::slice(plain, p, 1)));
  const auto batch = policy.sample_for_backward(prompts, 4, {3, 4});
  for (const Index p : {2, 0, 3, 1}) {
    CAPTURE(p);
    CHECK(recalls(policy, forest_of(batch, p, 1)));
    CHECK(gradient_of(policy, rollout::slice(batch, p, 1)) == expected[static_cast<std::size_t>(p)]);
  }
  // Other responses of the same prompts are not there.
  const auto other = policy.sample(prompts, 4, {5, 6});
  CHECK_FALSE(recalls(policy, forest_of(other, 0, 4)));
}

TEST_CASE("log-sum-exps are recorded of the law that was drawn from, and no other", "[policy][recording]") {
  auto policy = ending_policy("llama");
  auto fresh = policy.clone();
  const auto prompts = tiny_prompts(3);
  const auto recorded = [&](const RolloutBatch& batch) {
    const auto forest = forest_of(batch, 0, 3);
    REQUIRE(recalls(policy, forest));
    const kernel::HeadOptions options{.inv_temperature = static_cast<float>(1 / policy.sampler.temperature)};
    return policy.model().recording().log_sum_exp(forest.read_row, options.scale()).size();
  };
  const auto both = [&](auto&& set) {
    set(policy.sampler);
    set(fresh.sampler);
  };
  both([](auto& sampler) { sampler.temperature = 0.7; });
  auto batch = policy.sample_for_backward(prompts, 4, {1, 2});
  CHECK(recorded(batch) == static_cast<std::size_t>(batch.tokens()));
  CHECK(gradient_of(policy, batch) == gradient_of(fresh, batch));
  Array log_prob;  // who asks for them gets them from the head, with the same gradient
  policy.zero_gradients();
  policy.backward(batch, some_derivative(batch), &log_prob);
  CHECK((log_prob == batch.old_log_prob).all());
  CHECK(std::ranges::equal(policy.gradients(), gradient_of(fresh, batch)));
  both([](auto& sampler) { sampler.temperature = 1.3; });
  CHECK(recorded(batch) == 0);
  CHECK(gradient_of(policy, batch) == gradient_of(fresh, batch));
  // The logits of a truncated law are not those of the gradient.
  both([](auto& sampler) { sampler.top_k = 5; });
  batch = policy.sample_for_backward(prompts, 4, {1, 2});
  CHECK(recorded(batch) == 0);
  both([](auto& sampler) { sampler.top_k = 0; });
  CHECK(gradient_of(policy, batch) == gradient_of(fresh, batch));
}

TEST_CASE("a recording is of the parameters it was made with, and of the draw before", "[policy][recording]") {
  auto policy = ending_policy("llama");
  const auto prompts = tiny_prompts(3);
  const auto batch = policy.sample_for_backward(prompts, 4, {1, 2});
  for (float& value : policy.parameters()) value *= 1.01f;
  policy.parameters_changed();
  auto fresh = policy.clone();
  CHECK(gradient_of(policy, batch) == gradient_of(fresh, batch));
  const auto exact = policy.sample_for_backward(prompts, 4, {1, 2});
  CHECK(recalls(policy, forest_of(exact, 0, 3)));
  policy.model().set_precision(kernel::Precision::bfloat16);
  CHECK_FALSE(recalls(policy, forest_of(exact, 0, 3)));
  policy.model().set_precision(kernel::Precision::float32);
  // A second draw uses the memory of the first, also where it needs less or more of it.
  for (const Index samples : {2, 6, 4}) {
    const auto next = policy.sample_for_backward(prompts, samples, {5, static_cast<std::uint64_t>(samples)});
    CHECK(recalls(policy, forest_of(next, 0, 3)));
    CHECK_FALSE(recalls(policy, forest_of(batch, 0, 3)));
    CHECK(gradient_of(policy, next) == gradient_of(fresh, next));
  }
  // Samples that are drawn in parts, and on other numbers of threads.
  policy.passes.sampled_rows = 3;
  const int threads = thread_pool().threads();
  for (const int count : {1, 3, 2}) {
    set_threads(count);
    policy.model().memory.recompute = count == 2;
    const auto parts = policy.sample_for_backward(prompts, 7, {8, 9});
    CHECK(recalls(policy, forest_of(parts, 0, 3)));
    CHECK(gradient_of(policy, parts) == gradient_of(fresh, parts));
  }
  set_threads(threads);
}

TEST_CASE("a recording ends where another model changes the shared weights, or the adapter changes", "[policy][recording]") {
  auto policy = ending_policy("qwen2");
  const auto prompts = tiny_prompts(2);
  RolloutBatch batch;
  const auto record = [&] {
    batch = policy.sample_for_backward(prompts, 3, {1, 2});
    return recalls(policy, forest_of(batch, 0, 2));
  };
  auto beside = policy.model().base();
  REQUIRE(record());
  beside.parameters_changed();
  CHECK_FALSE(recalls(policy, forest_of(batch, 0, 2)));
  adapt(policy);
  auto reference = policy.reference();
  REQUIRE(record());
  reference.model().set_precision(kernel::Precision::bfloat16);
  CHECK_FALSE(recalls(policy, forest_of(batch, 0, 2)));
  REQUIRE(record());
  policy.model().adapter()->initialize({5, 6});
  CHECK_FALSE(recalls(policy, forest_of(batch, 0, 2)));
  REQUIRE(record());
  adapt(policy);  // another adapter
  CHECK_FALSE(recalls(policy, forest_of(batch, 0, 2)));
}

TEST_CASE("passes end between prompts where they can and keep to the bound", "[policy][recording]") {
  auto policy = ending_policy("llama");
  policy.sampler.eos = {};
  auto prompts = tiny_prompts(6);
  for (auto& prompt : prompts) prompt.tokens.resize(4, 3);
  const auto batch = policy.sample_for_backward(prompts, 3, {1, 2});
  const Index each = 4 + 3 * 11;
  // Whole prompts lie together, so nothing is copied: their gradient is made where they were recorded.
  for (const Index most : {each, 2 * each - 1, 2 * each, 3 * each + 5}) {
    CAPTURE(most);
    policy.passes.activation_bytes = most * model::kept_bytes_per_row(policy.shape(), {});
    std::vector<float> sum;
    policy.zero_gradients();
    const Index together = most / each;  // prompts of a pass
    for (Index p = 0; p < 6; p += together) {
      const Index count = std::min(together, 6 - p);
      const auto part = rollout::slice(batch, p, count);
      const Array d = some_derivative(batch).segment(batch.offset[static_cast<std::size_t>(3 * p)], part.tokens());
      policy.backward(part, d);
    }
    sum.assign(policy.gradients().begin(), policy.gradients().end());
    CHECK(gradient_of(policy, batch) == sum);
  }
}

TEST_CASE("a recording keeps to its bound, a smaller one where all but attention is made again", "[policy][recording]") {
  auto policy = ending_policy("gpt2");
  const auto prompts = tiny_prompts(2);
  const auto recorded = [&] {
    const auto batch = policy.sample_for_backward(prompts, 3, {1, 2});
    return recalls(policy, forest_of(batch, 0, 2));
  };
  Index rows = 0;
  for (const auto& prompt : prompts) rows += static_cast<Index>(prompt.tokens.size()) + 3 * 11;
  Index last = std::numeric_limits<Index>::max();
  for (const bool recompute : {false, true}) {
    policy.model().memory.recompute = recompute;
    policy.passes.recorded_bytes = rows * model::recorded_bytes_per_row(policy.shape(), policy.model().memory);
    CHECK(policy.passes.recorded_bytes < last / 2);
    last = policy.passes.recorded_bytes;
    CHECK(recorded());
    --policy.passes.recorded_bytes;
    CHECK_FALSE(recorded());
  }
  policy.passes = {};
  CHECK(recorded());
  policy.model().memory = {};
  const auto batch = policy.sample_for_backward(prompts, 3, {1, 2});
  policy.model().memory.recompute = true;  // of what was kept in full nothing is read then, and the other way round
  CHECK_FALSE(recalls(policy, forest_of(batch, 0, 2)));
  const auto gradient = gradient_of(policy, batch);
  policy.sample_for_backward(prompts, 3, {1, 2});
  CHECK(recalls(policy, forest_of(batch, 0, 2)));
  CHECK(gradient_of(policy, batch) == gradient);
  policy.model().memory = {};
  CHECK_FALSE(recalls(policy, forest_of(batch, 0, 2)));
  CHECK(gradient_of(policy, batch) == gradient);
  policy.sampler.max_new_tokens = 1;  // nothing but prompts is fed
  CHECK(recorded());
  policy.sampler.max_new_tokens = 1000;  // the context ends the responses
  policy.sampler.eos = {};
  CHECK(recorded());
}

TEST_CASE("a recording refuses places that it has no room for, and drafts that move", "[policy][recording][error]") {
  auto policy = ending_policy("llama");
  auto& recording = policy.model().recording();
  model::Forest forest;
  forest.add(random_tokens(3, 37, 1));
  policy.model().open_recording(4);
  CHECK_THROWS_AS(recording.close(forest, std::vector<Index>{0, 1}), ShapeError);
  CHECK_THROWS_AS(recording.close(forest, std::vector<Index>{0, 2, 1}), ShapeError);
  CHECK_THROWS_AS(recording.close(forest, std::vector<Index>{0, 2, 4}), ShapeError);
  CHECK_THROWS_AS(recording.close(forest, std::vector<Index>{0, 0, 1}), ShapeError);
  CHECK_THROWS_AS(recording.close(forest, std::vector<Index>{-1, 0, 1}), ShapeError);
  const auto prompts = tiny_prompts(1);
  policy.model().open_recording(100);
  const auto length = static_cast<Index>(prompts[0].tokens.size());
  const std::vector<policy::RecordedPlace> place = {{0, length, 11}}, short_place = {{0, length, 10}},
                                           far = {{99, length, 11}};
  CHECK_THROWS_AS(policy.open(prompts, 2, 0, short_place), ShapeError);
  CHECK_THROWS_AS(policy.open(prompts, 2, 0, far), ShapeError);
  CHECK_THROWS_AS(recording.put_log_sum_exp(100, 1.0, 1.0f), ShapeError);
  CHECK_THROWS_AS(recording.put_log_sum_exp(-1, 1.0, 1.0f), ShapeError);
  CHECK_THROWS_AS(policy.open(tiny_prompts(2), 2, 0, place), ShapeError);
  auto session = policy.open(prompts, 2, 0, place);
  session.extend(2, {1, 2});
  CHECK_THROWS_AS(session.keep(std::vector<Index>{0}), ConfigError);
}
}  // namespace vbon::test

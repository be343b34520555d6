// Models whose linear maps and head compute in bfloat16, beside the same models in float.
#include <cmath>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_model.hpp"
#include "vbon/model/load.hpp"
#include "vbon/model/memory_plan.hpp"
#include "vbon/model/save.hpp"
#include "vbon/model/save_gguf.hpp"

namespace vbon::test {
namespace {
using model::CausalLm;
constexpr auto bf16 = kernel::Precision::bfloat16, fp32 = kernel::Precision::float32;

model::Forest some_responses() {
  model::Forest forest;
  const Index prompt = forest.add(random_tokens(6, 37, 1));
  forest.add_response(prompt, random_tokens(9, 37, 2));
  forest.add_response(prompt, random_tokens(12, 37, 3));
  forest.add_response(forest.add(random_tokens(3, 37, 4)), random_tokens(11, 37, 5));
  return forest;
}
CausalLm in_bfloat16(CausalLm model) {
  model.set_precision(bf16);
  return model;
}
/// Of weights of both signs, as an objective gives.
std::vector<double> gradient_of(CausalLm& model, const model::Forest& forest) {
  std::vector<double> dlog_prob;
  for (Index t = 0; t < forest.reads(); ++t) dlog_prob.push_back(std::sin(1.7 * static_cast<double>(t) + 0.4));
  model.trainable().gradients();
  model.trainable().zero_gradients();
  model.backward(forest, {}, dlog_prob);
  const View<const float> gradients = model.trainable().gradients();
  return {gradients.begin(), gradients.end()};
}
double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double total = 0;
  for (std::size_t i = 0; i < a.size(); ++i) total += a[i] * b[i];
  return total;
}
struct Agreement {
  double cosine, relative_error;
};
Agreement agreement(const std::vector<double>& got, const std::vector<double>& want) {
  std::vector<double> difference;
  for (std::size_t i = 0; i < got.size(); ++i) difference.push_back(got[i] - want[i]);
  return {dot(got, want) / std::sqrt(dot(got, got) * dot(want, want)),
          std::sqrt(dot(difference, difference) / dot(want, want))};
}
Index packed_bytes_of(const CausalLm& model) {
  Index bytes = 0;
  auto network = model.network();
  network.for_each_linear([&](const model::Linear& linear) {
    bytes += linear.packed().panels() * linear.packed().panel_size() * static_cast<Index>(sizeof(float));
  });
  return bytes;
}
}  // namespace

TEST_CASE("log-probs in bfloat16 are near those in float, and so is the gradient", "[model][bfloat16]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  CAPTURE(kind);
  auto full = tiny_model(kind), low = in_bfloat16(tiny_model(kind));
  const auto forest = some_responses();
  const auto want = log_probs(full, forest), got = log_probs(low, forest);
  double worst = 0, sum = 0;
  for (std::size_t t = 0; t < want.size(); ++t) {
    worst = std::max(worst, std::abs(got[t] - want[t]));
    sum += std::abs(got[t] - want[t]);
  }
  const auto [cosine, relative_error] = agreement(gradient_of(low, forest), gradient_of(full, forest));
  CAPTURE(worst, sum / static_cast<double>(want.size()), cosine, relative_error);
  CHECK(worst > 1e-5);  // it is another arithmetic
  // Gemma's norms multiply by 1 + w, here about 2: logits and slopes are larger, and so is what rounding does to them.
  const bool steep = kind == "gemma";
  CHECK(worst < (steep ? 0.15 : 0.06));
  CHECK(sum / static_cast<double>(want.size()) < (steep ? 0.045 : 0.015));
  CHECK(cosine > (steep ? 0.997 : 0.9995));
  CHECK(relative_error < (steep ? 0.07 : 0.035));
}

TEST_CASE("the products alone are rounded: a change of a weight that bfloat16 does not see is kept", "[model][bfloat16]") {
  auto model = in_bfloat16(tiny_model("llama"));
  const auto forest = some_responses();
  const auto before = log_probs(model, forest);
  const Index place = model.network().block[0].up.place();
  float& weight = model.parameters().values()[place];
  weight = 1.0f;
  model.parameters_changed();
  const auto at_one = log_probs(model, forest);
  CHECK(at_one != before);
  for (int step = 0; step < 40; ++step) {  // each a tenth of what bfloat16 sees at 1
    weight += 0x1p-7f / 10;
    model.parameters_changed();
    if (step == 0) CHECK(log_probs(model, forest) == at_one);
  }
  CHECK(weight == Approx(1 + 4 * 0x1p-7));
  CHECK(log_probs(model, forest) != at_one);
}

TEST_CASE("a model goes to bfloat16 and back, with those that share its weights", "[model][bfloat16]") {
  const auto kind = GENERATE(from_range(tiny_kinds()));
  CAPTURE(kind);
  auto model = tiny_model(kind);
  const auto forest = some_responses();
  const auto in_float = log_probs(model, forest);
  auto base = model.base();
  model.set_precision(bf16);
  CHECK(base.precision() == bf16);
  const auto low = log_probs(model, forest);
  CHECK(low != in_float);
  CHECK(log_probs(base, forest) == low);
  auto copy = model.clone();
  CHECK(copy.precision() == bf16);
  CHECK(log_probs(copy, forest) == low);
  std::vector<double> kl(static_cast<std::size_t>(forest.reads()));
  model.kl(forest, copy, {}, kl);
  CHECK(kl == std::vector<double>(kl.size()));
  model.set_precision(fp32);
  CHECK(log_probs(model, forest) == in_float);
  CHECK(log_probs(base, forest) == in_float);
  CHECK(log_probs(copy, forest) == low);
}

TEST_CASE("a checkpoint is loaded for bfloat16: pairs whatever it stores, without its plain weights",
          "[model][bfloat16][load]") {
  const TemporaryFolder folder;
  auto shape = tiny_shape("llama");
  shape.width = 64;
  shape.inner = 96;
  const auto original = tiny_model(shape);
  model::save_causal_lm(original, folder / "f32");
  model::save_causal_lm(original, folder / "f16", {.dtype = io::Dtype::f16});
  model::save_causal_lm(original, folder / "bf16", {.dtype = io::Dtype::bf16});
  model::save_gguf(original, folder / "q8_0.gguf", BlockType::q8_0);
  const auto forest = some_responses();
  for (const char* name : {"f32", "f16", "bf16", "q8_0.gguf"}) {
    CAPTURE(name);
    auto model = model::load_causal_lm(folder / name, bf16);
    CHECK(model.precision() == bf16);
    const auto got = log_probs(model, forest);
    CHECK_FALSE(model.parameters().is_complete());
    auto changed = model::load_causal_lm(folder / name);
    changed.set_precision(bf16);
    CHECK(log_probs(changed, forest) == got);
    model.parameters_changed();  // packed from the plain weights, as after a step of training
    CHECK(log_probs(model, forest) == got);
  }
  auto plain = original.clone();
  auto loaded = model::load_causal_lm(folder / "bf16", bf16);
  CHECK(log_probs(loaded, forest) != log_probs(plain, forest));
  plain.set_precision(bf16);  // products of its weights rounded; norms and embeddings are rounded in the file alone
  const auto [cosine, relative_error] = agreement(gradient_of(loaded, forest), gradient_of(plain, forest));
  CHECK(cosine > 0.999);
}

TEST_CASE("the plan knows what packed weights take in bfloat16", "[model][bfloat16][memory]") {
  const TemporaryFolder folder;
  auto shape = tiny_shape("llama");
  shape.width = 63;  // odd: a zero behind each column
  model::save_causal_lm(tiny_model(shape), folder / "f32");
  model::save_causal_lm(tiny_model(shape), folder / "bf16", {.dtype = io::Dtype::bf16});
  for (const char* name : {"f32", "bf16"})
    for (const auto precision : {fp32, bf16}) {
      CAPTURE(name, static_cast<int>(precision));
      const auto source =
          model::tensor_source(std::make_shared<const io::ShardedSafetensors>(io::ShardedSafetensors::open(folder / name)));
      const auto sizes = model::weight_sizes(shape, source, precision);
      auto model = model::load_causal_lm(folder / name, precision);
      CHECK(sizes.precision == precision);
      CHECK(sizes.loaded == packed_bytes_of(model));
      model.parameters().values();
      model.parameters_changed();
      log_probs(model, some_responses());
      CHECK(sizes.packed == packed_bytes_of(model));
    }
}

TEST_CASE("a LoRA branch stays in float beside a weight in bfloat16", "[model][bfloat16][lora]") {
  const auto adapted = [](kernel::Precision precision) {
    auto model = tiny_model("llama");
    model.set_precision(precision);
    model.attach(model::LoraAdapter(model::lora_modules(model.parameters(), model.network()), {.rank = 3, .alpha = 4}));
    const View<float> values = model.trainable().values();
    for (Index i = 0; i < values.size(); ++i)
      values[i] = 0.2f * static_cast<float>(RngKey{4, 4}.normal(static_cast<std::uint64_t>(i)));
    model.parameters_changed();
    return model;
  };
  auto full = adapted(fp32), low = adapted(bf16);
  const auto forest = some_responses();
  const auto [cosine, relative_error] = agreement(gradient_of(low, forest), gradient_of(full, forest));
  CAPTURE(cosine, relative_error);
  CHECK(cosine > 0.9995);
  CHECK(relative_error < 0.035);
  auto base = low.base();
  auto plain = in_bfloat16(tiny_model("llama"));
  CHECK(log_probs(base, forest) == log_probs(plain, forest));
}
}  // namespace vbon::test

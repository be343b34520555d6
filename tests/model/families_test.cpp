// Families and options without a shared fixture, against numbers recorded from transformers
// (tests/data/causal_families/record.py).
#include <filesystem>

#include "support/catch.hpp"
#include "support/causal_fixture.hpp"
#include "vbon/model/load.hpp"
#include "vbon/model/score.hpp"

namespace vbon::test {
TEST_CASE("recorded families give transformers' logits, log-probs and gradients", "[model][parity]") {
  int checked = 0;
  for (const auto& folder : std::filesystem::directory_iterator(VBON_TEST_DATA "/causal_families")) {
    if (!folder.is_directory()) continue;
    CAPTURE(folder.path().filename().string());
    auto model = model::load_causal_lm(folder.path());
    const Tensors expected(folder.path() / "expected.safetensors");
    const auto ids = expected.integers("input_ids");
    const std::vector<TokenId> row(ids.begin(), ids.end());
    const auto weights = expected.floats("weights");
    model.parameters().gradients();
    if (model.shape().labels > 0) {
      model::ScoreInput input;
      input.add(row, model.shape().pad);
      Tensor<float> scores(1, model.shape().labels);
      model.score(input.forest, input.row, scores);
      CHECK(largest_difference(flat(scores.view()), expected.floats("logits")) < 2e-5);
      model.score_backward(input.forest, input.row, View<const float>(weights.data(), 1, model.shape().labels));
    } else {
      const model::Forest forest = forest_of({row});
      const View<const float> hidden = model.forward(forest);
      Tensor<float> logits(hidden.rows(), model.shape().vocab);
      model.head(hidden, logits);
      CHECK(largest_difference(flat(logits.view()), expected.floats("logits")) < 2e-4);
      std::vector<double> log_prob(row.size() - 1);
      model.backward(forest, {}, std::vector<double>(weights.begin(), weights.end()), log_prob);
      CHECK(largest_difference({log_prob.begin(), log_prob.end()}, expected.floats("logprobs")) < 5e-5);
    }
    for (const NamedValues& g : named(model, model.parameters().gradients())) {
      CAPTURE(g.name);
      const auto want = expected.floats("grad." + g.name);
      REQUIRE(want.size() == g.values.size());
      std::vector<float> difference(want.size());
      for (std::size_t i = 0; i < want.size(); ++i) difference[i] = g.values[i] - want[i];
      CHECK(euclidean_norm(difference) <= 1e-5 + 1e-3 * euclidean_norm(want));
    }
    ++checked;
  }
  CHECK(checked >= 7);
}
}  // namespace vbon::test

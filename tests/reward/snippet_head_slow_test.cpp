// The sentiment reward of the main job, on the real encoder and the real snippets.
#include "support/catch.hpp"
#include "support/model_cache.hpp"
#include "vbon/reward/encoder_head.hpp"
#include "vbon/rollout/snippets.hpp"

using namespace vbon;

TEST_CASE("a head trained on its part of the snippets tells the sign of held-out ones", "[slow][reward]") {
  const auto cache = io::cache_folder();
  const auto file = cache / "snippets" / "movieReviewSnippets_GroundTruth.txt";
  for (const auto& needed : {file, cache / "minilm"}) {
    if (std::filesystem::exists(needed)) continue;
    if (test::data_required()) FAIL(needed.string() << " is not there; fetch the models first");
    test::skip(needed.string() + " is not there");
    return;
  }
  const auto split = rollout::split_snippets(rollout::load_snippets(file));
  const auto columns = [](const std::vector<rollout::Snippet>& part) {
    std::pair<std::vector<std::string>, std::vector<double>> out;
    for (const auto& snippet : part) {
      out.first.push_back(snippet.text);
      out.second.push_back(snippet.score);
    }
    return out;
  };
  const auto [texts, scores] = columns(split.reward_train);
  const auto [held_texts, held_scores] = columns(split.held_out);
  reward::EncoderHead head(std::make_shared<const reward::SentenceEncoder>(reward::SentenceEncoder::load(cache / "minilm")));
  CHECK(head.train(texts, scores).converged);
  const Array predicted = head.score(held_texts);
  const auto result = reward::agreement({predicted.data(), held_scores.size()}, held_scores);
  std::cout << "held out: " << result.signed_count << " texts, sign accuracy " << result.sign_accuracy << ", Pearson "
            << result.pearson << ", Spearman " << result.spearman << '\n';
  CHECK(result.sign_accuracy >= 0.78);
  CHECK(result.pearson >= 0.70);
  CHECK(result.spearman >= 0.70);
}

#include "vbon/reward/trainable_classifier.hpp"

#include <cmath>

#include "support/catch.hpp"
#include "support/reward_data.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/reward/classifier.hpp"

using namespace vbon;
using namespace vbon::reward;
using test::TemporaryFolder;

namespace {
const std::vector<std::string> film_texts = {" the film is good", " a film is not bad", " dull",
                                             " the film is great and fine"};
const model::NewHead one_label = {.labels = 1, .key = {7, 0}};

Sequences spans(const std::vector<std::vector<TokenId>>& tokens) { return {tokens.begin(), tokens.end()}; }
template <class M>
std::vector<std::vector<TokenId>> tokens_of(const M& model) {
  std::vector<std::vector<TokenId>> tokens;
  for (const auto& text : film_texts) tokens.push_back(model.tokens(text));
  return tokens;
}
std::vector<float> copy(View<const float> values) { return {values.begin(), values.end()}; }
}  // namespace

TEST_CASE("a checkpoint without a head gets one of the seed, and what is saved scores the same", "[reward][trainable]") {
  const std::string kind = GENERATE("bert", "distilbert", "roberta", "gpt2", "neox", "llama", "qwen2", "qwen3");
  CAPTURE(kind);
  const TemporaryFolder folder, out;
  test::save_tiny_checkpoint(folder.path(), kind);
  with_trainable_classifier(folder.path(), one_label, [&](auto& model) {
    CHECK((model.labels() == 1 && model.new_head()));
    const auto tokens = tokens_of(model);
    const auto logits = copy(model.logits(spans(tokens)));
    CHECK(std::any_of(logits.begin(), logits.end(), [](float x) { return x != 0; }));
    model.save(out.path(), "regression");
    const Array scores = Classifier::load(out.path()).score(film_texts);
    for (std::size_t i = 0; i < film_texts.size(); ++i)
      CHECK(scores[static_cast<Index>(i)] == static_cast<double>(logits[i]));
    with_trainable_classifier(folder.path(), one_label,
                              [&](auto& again) { CHECK(copy(again.logits(spans(tokens))) == logits); });
    with_trainable_classifier(folder.path(), {.labels = 1, .key = {8, 0}},
                              [&](auto& other) { CHECK(copy(other.logits(spans(tokens))) != logits); });
    with_trainable_classifier(out.path(), one_label, [&](auto& kept) {
      CHECK_FALSE(kept.new_head());
      CHECK(copy(kept.logits(spans(tokens))) == logits);
    });
  });
  const auto config = io::read_json(out / "config.json");
  CHECK(config.at("architectures").at(0).get<std::string>().ends_with("ForSequenceClassification"));
  CHECK((config.at("num_labels") == 1 && config.at("id2label").size() == 1));
  CHECK(config.at("problem_type") == "regression");
  CHECK(config.at("pad_token_id").is_number());
  CHECK(std::filesystem::exists(out / "tokenizer.json"));
}

TEST_CASE("the gradient of a head alone is that of training all", "[reward][trainable]") {
  const std::string kind = GENERATE("bert", "distilbert", "roberta", "gpt2", "llama");
  CAPTURE(kind);
  const TemporaryFolder folder;
  test::save_tiny_checkpoint(folder.path(), kind);
  Tensor<float> d(static_cast<Index>(film_texts.size()), 1);
  for (Index i = 0; i < d.size(); ++i) d[i] = static_cast<float>(i) - 1.2F;
  std::vector<float> all, head;
  with_trainable_classifier(folder.path(), one_label, [&](auto& model) {
    const auto tokens = tokens_of(model);
    model.backward(spans(tokens), [&](View<const float>) -> View<const float> { return d.view(); });
    all = copy(model.gradients());
  });
  with_trainable_classifier(folder.path(), one_label, [&](auto& model) {
    const auto tokens = tokens_of(model);
    const auto logits = copy(model.logits(spans(tokens)));
    const auto values = copy(model.states(spans(tokens)));
    model.train_head_only();
    model.parameters_changed();
    const View<const float> states(values.data(), d.rows(), model.width());
    CHECK(copy(model.head_logits(states)) == logits);
    model.head_backward(d.view());
    head = copy(model.gradients());
    CHECK(model.parameters().size() == static_cast<Index>(head.size()));
    Index undecayed = 0;
    for (const auto& range : model.undecayed()) undecayed += range.count;
    CHECK(undecayed < static_cast<Index>(head.size()));
  });
  REQUIRE(head.size() < all.size());
  CHECK(std::equal(head.begin(), head.end(), all.end() - static_cast<std::ptrdiff_t>(head.size())));
}

TEST_CASE("a head with two outputs goes on, with more it is refused, and --new-head replaces it", "[reward][trainable]") {
  const TemporaryFolder two, three;
  test::save_tiny_encoder(two.path(), "bert", 2);
  with_trainable_classifier(two.path(), one_label, [](auto& model) { CHECK((model.labels() == 2 && model.label() == 1)); });
  test::save_tiny_encoder(three.path(), "distilbert", 3);
  CHECK_THROWS_WITH(with_trainable_classifier(three.path(), one_label, [](auto&) {}),
                    Catch::Contains("has 3") && Catch::Contains("--new-head"));
  with_trainable_classifier(three.path(), {.labels = 1, .replace = true, .key = {}},
                            [](auto& model) { CHECK((model.labels() == 1 && model.new_head())); });
}

TEST_CASE("texts are cut to a length with their special tokens, and the longest is what the model reads",
          "[reward][trainable]") {
  const TemporaryFolder bert;
  test::save_tiny_encoder(bert.path());
  const auto encoder = TrainableEncoder::load(bert.path(), one_label);
  CHECK(encoder.max_length() == 12);
  CHECK(encoder.tokens(" good good good good").size() == 6);
  CHECK(encoder.tokens(" good good good good", 4) == std::vector<TokenId>{2, 4, 4, 3});
  const auto llama = TrainableCausalLm::load(VBON_TEST_DATA "/tiny_llama", one_label);
  CHECK(llama.max_length() == 64);
  CHECK(llama.tokens(" good good good", 2) == llama.tokens(" good good"));
}

TEST_CASE("a folder of another kind is refused by name", "[reward][trainable][error]") {
  const TemporaryFolder folder;
  io::write_file_atomically(folder / "config.json", R"({"model_type": "t5"})");
  CHECK_THROWS_WITH(with_trainable_classifier(folder.path(), one_label, [](auto&) {}),
                    Catch::Contains("'t5'") && Catch::Contains("distilbert") && Catch::Contains("llama"));
  CHECK_THROWS_AS(with_trainable_classifier(folder / "nowhere", one_label, [](auto&) {}), RunError);
}

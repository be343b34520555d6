#include "support/catch.hpp"
#include "support/failure.hpp"
#include "support/rollout.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_encoder.hpp"
#include "support/tiny_model.hpp"
#include "vbon/model/save.hpp"
#include "vbon/parallel/parallel_for.hpp"
#include "vbon/reward/registry.hpp"

using namespace vbon;
using namespace vbon::reward;
using test::failure;
using test::TemporaryFolder;

namespace {
const std::vector<std::string> head_texts = {"a good film",
                                             "a bad film",
                                             "the plot is great",
                                             "the plot is dull",
                                             "not good",
                                             "very good",
                                             "very bad",
                                             "fun",
                                             "slow",
                                             "the film is very fun",
                                             "fast plot",
                                             "dull dull dull",
                                             "great great",
                                             "a great film is a very good film",
                                             "",
                                             "not a bad film is the plot",
                                             "goodly plots"};
std::vector<double> wanted() {
  std::vector<double> score;
  for (const auto& text : head_texts) {
    const auto has = [&](const char* word) { return text.find(word) != text.npos ? 1.0 : 0.0; };
    score.push_back(has("good") + has("great") + has("fun") - has("bad") - has("dull") - has("slow"));
  }
  return score;
}
std::shared_ptr<const SentenceEncoder> encoder_in(const TemporaryFolder& folder) {
  test::save_tiny_encoder(folder.path());
  return std::make_shared<const SentenceEncoder>(SentenceEncoder::load(folder.path()));
}
void write(const std::filesystem::path& path, std::string_view text) {
  std::filesystem::create_directories(path.parent_path());
  io::write_file_atomically(path, text);
}
}  // namespace

TEST_CASE("a trained head rewards like its training scores", "[reward][encoder_head]") {
  const TemporaryFolder folder;
  const auto scores = wanted();
  for (const auto loss : {HeadLoss::regression, HeadLoss::logistic}) {
    EncoderHead head(encoder_in(folder), TextInput::response);
    const auto report = head.train(head_texts, scores, {.loss = loss, .l2 = {1e-6}});
    CHECK(report.converged);
    CHECK(head.layers() == std::vector<Index>{1, 2, 3});
    const Array got = head.score(head_texts);
    CHECK(agreement(test::values_of(got), scores).pearson > 0.8);
  }
}

TEST_CASE("a score does not depend on company, order or threads", "[reward][encoder_head]") {
  const TemporaryFolder folder;
  EncoderHead head(encoder_in(folder), TextInput::response);
  head.train(head_texts, wanted());
  const Array all = head.score(head_texts);
  for (std::size_t i = 0; i < head_texts.size(); ++i)
    CHECK(head.score(std::span(head_texts).subspan(i, 1))[0] == all[static_cast<Index>(i)]);
  const std::vector<std::string> reversed(head_texts.rbegin(), head_texts.rend());
  CHECK((head.score(reversed).reverse() == all).all());
  const int before = thread_pool().threads();
  set_threads(before == 1 ? 3 : 1);
  CHECK((head.score(head_texts) == all).all());
  EncoderHead again(encoder_in(folder), TextInput::response);
  again.train(head_texts, wanted());
  CHECK((again.score(head_texts) == all).all());
  set_threads(before);
}

TEST_CASE("a head reads the response alone or behind its prompt", "[reward][encoder_head]") {
  const TemporaryFolder folder;
  const auto encoder = encoder_in(folder);
  const auto batch = test::text_batch({{"the plot", {" is great", " is dull"}}, {"a", {" bad film"}}});
  EncoderHead whole(encoder), response(encoder, TextInput::response);
  whole.train(head_texts, wanted());
  response.train(head_texts, wanted());
  CHECK(
      (whole(batch) == whole.score(std::vector<std::string>{"the plot is great", "the plot is dull", "a bad film"})).all());
  CHECK((response(batch) == response.score(std::vector<std::string>{" is great", " is dull", " bad film"})).all());
}

TEST_CASE("a saved head loads to the same rewards, beside its encoder or with it inside", "[reward][encoder_head]") {
  const TemporaryFolder encoder_folder, folder;
  EncoderHead head(encoder_in(encoder_folder), TextInput::response);
  head.train(head_texts, wanted(), {.loss = HeadLoss::logistic, .l2 = {1e-2, 1e-3}, .folds = 3, .layers = {0, 3}});
  head.save(folder.path());
  const auto loaded = EncoderHead::load(folder.path());
  CHECK(loaded.input() == TextInput::response);
  CHECK(loaded.layers() == std::vector<Index>{0, 3});
  CHECK((loaded.score(head_texts) == head.score(head_texts)).all());
  CHECK((EncoderHead::load(folder.path(), head.encoder()).score(head_texts) == head.score(head_texts)).all());

  head.save(folder / "whole", true);
  std::filesystem::rename(folder / "whole", folder / "moved");
  std::filesystem::remove_all(encoder_folder / "model.safetensors");
  CHECK((EncoderHead::load(folder / "moved").score(head_texts) == head.score(head_texts)).all());
  CHECK((open("encoder-head", (folder / "moved").string())(test::text_batch({{"p", head_texts}})) == head.score(head_texts))
            .all());
}

TEST_CASE("a head is not used with another encoder, nor a broken folder", "[reward][encoder_head][error]") {
  const TemporaryFolder encoder_folder, other, folder;
  EncoderHead head(encoder_in(encoder_folder));
  CHECK_THROWS_AS(head.score(head_texts), ConfigError);
  CHECK_THROWS_AS(head.save(folder.path()), ConfigError);
  CHECK_THROWS_AS(EncoderHead{}.score(head_texts), ConfigError);
  head.train(head_texts, wanted());
  head.save(folder.path());
  test::save_tiny_encoder(other.path(), "bert", 0, 2);
  const auto another = std::make_shared<const SentenceEncoder>(SentenceEncoder::load(other.path()));
  CHECK_THAT(failure([&] { EncoderHead::load(folder.path(), another); }), Catch::Contains("other weights"));
  std::filesystem::remove(encoder_folder / "config.json");
  CHECK_THAT(failure([&] { EncoderHead::load(folder.path()); }), Catch::Contains("is not at"));
  auto about = io::read_json(folder / "reward.json");
  about["layers"] = {3};
  write(folder / "reward.json", about.dump());
  CHECK_THAT(failure([&] { EncoderHead::load(folder.path(), head.encoder()); }),
             Catch::Contains("weight") && Catch::Contains("12 values"));
  about["reward"] = "lexicon";
  write(folder / "reward.json", about.dump());
  CHECK_THAT(failure([&] { EncoderHead::load(folder.path()); }), Catch::Contains("'lexicon'"));
  CHECK_THROWS_AS(head.train(head_texts, std::vector<double>(3)), ShapeError);
  CHECK_THROWS_AS(head.train(head_texts, wanted(), {.layers = {4}}), ConfigError);
}

TEST_CASE("a head learns preferences", "[reward][encoder_head]") {
  const TemporaryFolder folder;
  EncoderHead head(encoder_in(folder));
  std::vector<PreferencePair> pairs;
  for (const char* noun : {" film", " plot"})
    for (const char* good : {"good", "great", "fun", "fast"})
      for (const char* bad : {"bad", "dull", "slow", "not"})
        pairs.push_back({"the", std::string(noun) + " is " + good, std::string(noun) + " is " + bad, 0.5});
  const auto report = head.train(pairs, {.l2 = 1e-6, .centering = 0.01});
  CHECK(report.converged);
  Index right = 0;
  double sum = 0;
  for (const auto& pair : pairs) {
    const Array got = head.score(std::vector<std::string>{pair.prompt + pair.chosen, pair.prompt + pair.rejected});
    right += got[0] > got[1] ? 1 : 0;
    sum += got.sum();
  }
  CHECK(right == static_cast<Index>(pairs.size()));
  CHECK(sum / static_cast<double>(pairs.size()) == Approx(0).margin(0.2));
  CHECK_THROWS_AS(head.train(std::vector<PreferencePair>{}), ShapeError);
  CHECK_THROWS_AS(head.train(pairs, {.centering = -1}), DomainError);
}

TEST_CASE("pooling follows the files of the folder", "[reward][sentence_encoder]") {
  const TemporaryFolder folder;
  test::save_tiny_encoder(folder.path());
  const auto pooling = [&] { return SentenceEncoder::load(folder.path()).pooling(); };
  CHECK((pooling().mode == model::PoolingMode::mean && pooling().normalize));
  const std::string transformer =
      R"({"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"})";
  const std::string pool = R"({"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"})";
  const std::string normalize =
      R"({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})";
  write(folder / "modules.json", '[' + transformer + ',' + pool + ']');
  CHECK_FALSE(pooling().normalize);
  write(folder / "modules.json", '[' + transformer + ',' + pool + ',' + normalize + ']');
  write(folder / "1_Pooling" / "config.json",
        R"({"word_embedding_dimension": 12, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false})");
  CHECK((pooling().mode == model::PoolingMode::first && pooling().normalize));
  write(folder / "1_Pooling" / "config.json", R"({"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true})");
  CHECK_THAT(failure(pooling), Catch::Contains("one pooling mode"));
  write(folder / "1_Pooling" / "config.json", R"({"pooling_mode_lasttoken": true})");
  CHECK_THAT(failure(pooling), Catch::Contains("pooling_mode_lasttoken"));
  write(folder / "modules.json", R"([{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}])");
  CHECK_THAT(failure(pooling), Catch::Contains("Dense"));
}

TEST_CASE("texts are cut to the shortest limit and keep their end token", "[reward][sentence_encoder]") {
  const TemporaryFolder folder;
  test::save_tiny_encoder(folder.path());
  const std::string longest = "good bad good bad good bad good bad good bad good bad good bad";
  CHECK(SentenceEncoder::load(folder.path()).text().tokens(longest).size() == 12);
  write(folder / "sentence_bert_config.json", R"({"max_seq_length": 5})");
  const auto encoder = SentenceEncoder::load(folder.path());
  CHECK(encoder.text().max_length() == 5);
  CHECK(encoder.text().tokens(longest) == std::vector<TokenId>{2, 4, 5, 4, 3});
  CHECK(encoder.embed(std::vector<std::string>{longest}).cols() == 12);
}

TEST_CASE("a classifier gives its one output, or log-odds of a label", "[reward][classifier]") {
  const TemporaryFolder folder;
  const auto batch = test::text_batch({{"the film", {" is good", ""}}});
  for (const Index labels : {1, 2, 3}) {
    test::save_tiny_encoder(folder.path(), "bert", labels);
    const auto reward = Classifier::load(folder.path(), {.label = labels == 3 ? "label_1" : ""});
    CHECK(reward.label() == (labels == 1 ? 0 : 1));
    const std::vector<std::string> read = {"the film is good", "the film"};
    const auto logits = reward.logits(read);
    const Array got = reward(batch);
    for (Index i = 0; i < 2; ++i) {
      const auto z = [&](Index k) { return static_cast<double>(logits(i, k)); };
      if (labels == 1) CHECK(got[i] == z(0));
      if (labels == 2) CHECK(got[i] == Approx(z(1) - z(0)).epsilon(1e-12));
      if (labels == 3) {
        const double p = std::exp(z(1)) / (std::exp(z(0)) + std::exp(z(1)) + std::exp(z(2)));
        CHECK(got[i] == Approx(std::log(p / (1 - p))).epsilon(1e-10));
      }
    }
  }
}

TEST_CASE("a classifier's label is chosen by name or number, the positive one of two by itself", "[reward][classifier]") {
  const TemporaryFolder folder;
  test::save_tiny_encoder(folder.path(), "distilbert", 2);
  const auto with_names = [&](const char* zero, const char* one) {
    auto config = io::read_json(folder / "config.json");
    config["id2label"] = {{"0", zero}, {"1", one}};
    write(folder / "config.json", config.dump());
  };
  with_names("POSITIVE", "NEGATIVE");
  CHECK(Classifier::load(folder.path()).label() == 0);
  CHECK(Classifier::load(folder.path(), {.label = "negative"}).label() == 1);
  CHECK(Classifier::load(folder.path(), {.label = "1"}).label() == 1);
  with_names("no", "yes");
  CHECK(Classifier::load(folder.path()).label() == 1);
  CHECK_THAT(failure([&] { Classifier::load(folder.path(), {.label = "maybe"}); }),
             Catch::Contains("'maybe'") && Catch::Contains("1 (yes)"));
  test::save_tiny_encoder(folder.path(), "roberta", 4);
  CHECK_THAT(failure([&] { Classifier::load(folder.path()); }),
             Catch::Contains("choose the label") && Catch::Contains("3 (LABEL_3)"));
  test::save_tiny_encoder(folder.path());
  CHECK_THAT(failure([&] { Classifier::load(folder.path()); }), Catch::Contains("no classification head"));
  CHECK_THROWS_AS(Classifier{}.score(head_texts), ConfigError);
}

TEST_CASE("a causal language model with a score head is a classifier too, read at the last token", "[reward][classifier]") {
  const TemporaryFolder folder;
  const std::filesystem::path source = std::string(VBON_TEST_DATA) + "/tiny_llama";
  const auto tokenizer = text::Tokenizer::from_json(source / "tokenizer.json");
  for (const Index labels : {1, 2}) {
    auto shape = model::load_causal_lm(source).shape();
    shape.labels = labels;
    shape.tied = false;
    model::CausalLm network(shape);
    for (Index i = 0; i < network.parameters().size(); ++i)
      network.parameters().values()[i] = static_cast<float>(0.2 * RngKey{8, 1}.normal(static_cast<std::uint64_t>(i)));
    network.parameters_changed();
    model::save_causal_lm(network, folder.path());
    tokenizer.save(folder.path());
    const auto reward = Classifier::load(folder.path());
    CHECK(reward.labels() == labels);
    const std::vector<std::string> read = {"the film is good", "the film", "a"};
    const auto logits = reward.logits(read);
    for (std::size_t i = 0; i < read.size(); ++i) {
      model::Forest forest;
      forest.add(tokenizer.encode(read[i]));
      const Index last[] = {forest.last_row(0)};
      Tensor<float> alone(1, labels);
      network.score(forest, last, alone);
      for (Index k = 0; k < labels; ++k)
        CHECK(alone(0, k) == logits(static_cast<Index>(i), k));  // whatever stands beside it
    }
    const Array got = reward(test::text_batch({{"the film", {" is good", ""}}}));
    for (Index i = 0; i < 2; ++i) {
      const double first = static_cast<double>(logits(i, 0));
      CHECK(got[i] == Approx(labels == 1 ? first : static_cast<double>(logits(i, 1)) - first).epsilon(1e-12));
    }
    CHECK_THAT(failure([&] { reward.score(std::vector<std::string>{std::string(5000, 'a')}); }),
               Catch::Contains("text 0") && Catch::Contains("shorten"));
  }
  CHECK_THAT(failure([&] { Classifier::load(source); }), Catch::Contains("no score head"));
  write(folder / "config.json", R"({"model_type": "mamba"})");
  CHECK_THAT(failure([&] { Classifier::load(folder.path()); }),
             Catch::Contains("'mamba'") && Catch::Contains("bert") && Catch::Contains("llama"));
}

TEST_CASE("rewards of networks in bfloat16 are near those in float, whatever is scored with a text", "[reward][bfloat16]") {
  const TemporaryFolder folder;
  constexpr auto bf16 = kernel::Precision::bfloat16;
  EncoderHead head(encoder_in(folder), TextInput::response);
  head.train(head_texts, wanted());
  head.save(folder / "head");
  test::save_tiny_encoder(folder / "encoder", "bert", 1);
  auto shape = model::load_causal_lm(std::string(VBON_TEST_DATA) + "/tiny_llama").shape();
  shape.labels = 1;
  model::save_causal_lm(test::tiny_model(shape), folder / "causal");
  text::Tokenizer::from_json(std::string(VBON_TEST_DATA) + "/tiny_llama/tokenizer.json").save(folder / "causal");
  const std::pair<const char*, const char*> rewards[] = {
      {"encoder_head", "head"}, {"classifier", "encoder"}, {"classifier", "causal"}};
  const auto batch = test::text_batch({{"", {"good film", "a very dull plot is not fun", "the film is great"}}});
  for (const auto& [kind, place] : rewards) {
    CAPTURE(place);
    const Array full = open(kind, (folder / place).string())(batch);
    const Any low = open(kind, (folder / place).string(), {.process = {}, .precision = bf16});
    const Array got = low(batch);
    CAPTURE(full.transpose(), got.transpose());
    CHECK((got != full).all());
    CHECK((got - full).abs().maxCoeff() < 0.03 * full.abs().maxCoeff());
    for (Index i = 0; i < batch.responses(); ++i)
      CHECK(low(test::text_batch({{"", {batch.text[static_cast<std::size_t>(i)]}}}))[0] == got[i]);
  }
}

TEST_CASE("a tokenizer that does not belong to the encoder is refused", "[reward][classifier][error]") {
  const TemporaryFolder folder;
  auto config = test::tiny_encoder_config();
  config["vocab_size"] = 10;
  test::tiny_encoder(config).save(folder.path());
  test::save_tiny_tokenizer(folder.path());
  CHECK_THAT(failure([&] { SentenceEncoder::load(folder.path()); }), Catch::Contains("vocabulary of 10"));
}

TEST_CASE("every reward of the registry opens by its name, and an unknown name lists them", "[reward][registry]") {
  for_each_entry<Rewards>([]<class R>(const R&) { static_assert(Reward<R>); });
  CHECK(open("length", "3").kind() == "length");
  CHECK_THAT(failure([] { open("sentiment", ""); }),
             Catch::Contains("sentiment") && Catch::Contains("length, lexicon, table, encoder_head, classifier, process"));
}

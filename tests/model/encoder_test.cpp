#include "vbon/model/encoder.hpp"

#include <functional>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "support/tiny_encoder.hpp"
#include "vbon/model/encoder_checkpoint.hpp"
#include "vbon/model/encoder_pooling.hpp"
#include "vbon/parallel/parallel_for.hpp"

using namespace vbon;
using namespace vbon::model;
using test::tiny_encoder;
using test::tiny_encoder_config;

namespace {
EncoderInput tiny_input(bool types) {
  EncoderInput input;
  input.add(std::vector<TokenId>{2, 4, 6, 10, 3}, types ? std::vector<TokenId>{0, 0, 1, 1, 1} : std::vector<TokenId>{});
  input.add(std::vector<TokenId>{2});
  input.add(std::vector<TokenId>{2, 4, 4, 17, 9, 9, 3});
  return input;
}

/// Compares gradients() with central differences of `loss` for a spread of parameters of every tensor.
void check_gradients(Encoder& encoder, const std::function<double()>& loss) {
  auto& parameters = encoder.parameters();
  const View<float> values = parameters.values();
  const View<float> gradients = parameters.gradients();
  for (const auto& p : parameters.list()) {
    double difference = 0, size = 0;
    for (Index i = p.offset; i < p.offset + p.size(); i += 1 + p.size() / 12) {
      const float kept = values[i];
      const float step = 4e-3F;
      const auto at = [&](float value) {
        values[i] = value;
        encoder.parameters_changed();
        return loss();
      };
      const double up = at(kept + step), down = at(kept - step);
      values[i] = kept;
      const double numeric = (up - down) / (2 * static_cast<double>(step));
      difference += std::pow(numeric - static_cast<double>(gradients[i]), 2);
      size += numeric * numeric;
    }
    CAPTURE(p.name);
    CHECK(std::sqrt(difference) <= 0.02 * std::sqrt(size) + 2e-3);
  }
  encoder.parameters_changed();
}
}  // namespace

TEST_CASE("the gradient of a classifier is that of finite differences in every tensor", "[model][encoder]") {
  const std::string type = GENERATE("bert", "distilbert", "roberta");
  CAPTURE(type);
  auto config = tiny_encoder_config(type, 3);
  if (type == "bert") config["hidden_act"] = GENERATE("gelu", "gelu_new", "silu");
  auto model = tiny_encoder(config);
  const EncoderInput input = tiny_input(type == "bert");
  EncoderTape tape;
  const RngKey key{9, 9};
  Tensor<float> weight(3, 3);
  for (Index i = 0; i < 9; ++i) weight[i] = static_cast<float>(key.normal(static_cast<std::uint64_t>(i)));
  const auto loss = [&] {
    const View<const float> logits = model.encoder.classify(input, tape, Keep::all);
    double sum = 0;
    for (Index i = 0; i < 9; ++i) sum += static_cast<double>(weight[i]) * static_cast<double>(logits[i]);
    return sum;
  };
  loss();
  model.encoder.parameters().gradients();
  model.encoder.classify_backward(tape, weight.view());
  check_gradients(model.encoder, loss);
}

TEST_CASE("the gradient through pooling and unit length is that of finite differences", "[model][encoder]") {
  auto model = tiny_encoder(tiny_encoder_config());
  const auto mode = GENERATE(PoolingMode::mean, PoolingMode::first);
  const bool normalize = GENERATE(true, false);
  const EncoderInput input = tiny_input(true);
  EncoderTape tape;
  const Index c = model.encoder.shape().width;
  Tensor<float> out(3, c), norm(3), weight(3, c);
  for (Index i = 0; i < weight.size(); ++i)
    weight[i] = static_cast<float>(RngKey{3, 3}.normal(static_cast<std::uint64_t>(i)));
  const auto loss = [&] {
    pool(model.encoder.forward(input, tape, Keep::all), input.offset, mode, out);
    if (normalize) normalize_rows(out, norm);
    double sum = 0;
    for (Index i = 0; i < out.size(); ++i) sum += static_cast<double>(weight[i]) * static_cast<double>(out[i]);
    return sum;
  };
  loss();
  Tensor<float> dout = weight, dhidden(input.tokens(), c);
  if (normalize) normalize_rows_backward(out.view(), norm.view(), dout);
  pool_backward(dout.view(), input.offset, mode, dhidden);
  model.encoder.parameters().gradients();
  model.encoder.backward(tape, dhidden);
  check_gradients(model.encoder, loss);
}

TEST_CASE("gradients add up over passes", "[model][encoder]") {
  auto model = tiny_encoder(tiny_encoder_config("bert", 1));
  const EncoderInput input = tiny_input(true);
  EncoderTape tape;
  const Tensor<float> ones = [] {
    Tensor<float> t(3, 1);
    t.view().array() = 1;
    return t;
  }();
  auto& parameters = model.encoder.parameters();
  parameters.gradients();
  model.encoder.classify(input, tape, Keep::all);
  model.encoder.classify_backward(tape, ones.view());
  const std::vector<float> once(parameters.gradients().begin(), parameters.gradients().end());
  model.encoder.classify(input, tape, Keep::all);
  model.encoder.classify_backward(tape, ones.view());
  for (std::size_t i = 0; i < once.size(); ++i)
    CHECK(parameters.gradients()[static_cast<Index>(i)] == Approx(2 * once[i]).margin(1e-5));
}

TEST_CASE("a sequence gives the same bits alone, in company and on any number of threads", "[model][encoder]") {
  const auto model = tiny_encoder(tiny_encoder_config("bert", 2));
  const EncoderInput input = tiny_input(false);
  EncoderTape tape, alone;
  const auto logits = model.encoder.classify(input, tape);
  const std::vector<float> together(logits.begin(), logits.end());
  for (Index i = 0; i < input.sequences(); ++i) {
    EncoderInput one;
    const auto begin = static_cast<std::size_t>(input.offset[static_cast<std::size_t>(i)]);
    const auto end = static_cast<std::size_t>(input.offset[static_cast<std::size_t>(i) + 1]);
    one.add(std::span(input.token).subspan(begin, end - begin));
    const auto single = model.encoder.classify(one, alone);
    CHECK(std::equal(single.begin(), single.end(), together.begin() + 2 * i));
  }
  const int before = thread_pool().threads();
  set_threads(1);
  const auto again = model.encoder.classify(input, tape);
  CHECK(std::equal(again.begin(), again.end(), together.begin()));
  set_threads(before);
}

TEST_CASE("the states of all layers pass by in order", "[model][encoder]") {
  const auto model = tiny_encoder(tiny_encoder_config());
  const EncoderInput input = tiny_input(false);
  EncoderTape all, some;
  model.encoder.forward(input, all, Keep::all);
  Index next = 0;
  model.encoder.forward(input, some, Keep::output, [&](Index layer, View<const float> hidden) {
    CHECK(layer == next++);
    CHECK(std::equal(hidden.begin(), hidden.end(), all.hidden(layer).begin()));
  });
  CHECK(next == 4);
}

TEST_CASE("RoBERTa's positions pass over pad tokens and begin behind the pad id", "[model][encoder]") {
  auto config = tiny_encoder_config("roberta");
  config["pad_token_id"] = 1;
  const auto model = tiny_encoder(config);
  CHECK(model.encoder.shape().max_length() == 10);
  EncoderInput input;
  input.add(std::vector<TokenId>{2, 1, 5, 3});
  CHECK(encoder_positions(input, model.encoder.shape()) == std::vector<TokenId>{2, 1, 3, 4});
}

TEST_CASE("pooling over three tokens", "[model][encoder]") {
  Tensor<float> hidden(4, 2);
  const float values[] = {1, -4, 3, 0, 8, 1, 5, 5};
  std::copy(std::begin(values), std::end(values), hidden.data());
  const std::vector<Index> offset = {0, 3, 4};
  Tensor<float> out(2, 2), norm(2);
  const View<const float> h = hidden;
  pool(h, offset, PoolingMode::mean, out);
  CHECK((out[0] == 4 && out[1] == -1 && out[2] == 5 && out[3] == 5));
  pool(h, offset, PoolingMode::max, out);
  CHECK((out[0] == 8 && out[1] == 1));
  pool(h, offset, PoolingMode::first, out);
  CHECK((out[0] == 1 && out[1] == -4));
  normalize_rows(out, norm);
  CHECK(norm[1] == Approx(std::sqrt(50.0)));
  CHECK(out[2] == Approx(std::sqrt(0.5)));
  Tensor<float> zero(1, 3);
  normalize_rows(zero);
  CHECK((zero.view().array() == 0).all());
  CHECK_THROWS_AS(pool_backward(out.view(), offset, PoolingMode::max, Tensor<float>(4, 2)), ConfigError);
}

TEST_CASE("an encoder refuses what it cannot read", "[model][encoder][error]") {
  auto model = tiny_encoder(tiny_encoder_config());
  EncoderTape tape;
  const auto read = [&](std::vector<TokenId> token, std::vector<TokenId> type = {}) {
    EncoderInput input;
    input.add(std::vector<TokenId>{2});
    input.add(token, type);
    model.encoder.forward(input, tape);
  };
  CHECK_THROWS_WITH(read({}), Catch::Contains("sequence 1") && Catch::Contains("0 tokens"));
  CHECK_THROWS_WITH(read(std::vector<TokenId>(13, 4)), Catch::Contains("13 tokens") && Catch::Contains("1 to 12"));
  CHECK_THROWS_WITH(read({2, 99}), Catch::Contains("sequence 1, token 1") && Catch::Contains("99"));
  CHECK_THROWS_AS(read({-1}), DomainError);
  CHECK_THROWS_AS(read({2, 3}, {0, 2}), DomainError);
  CHECK_THROWS_AS(read({2, 3}, {0}), ShapeError);
  CHECK_THROWS_AS(model.encoder.classify({}, tape), ConfigError);
  const EncoderInput input = tiny_input(false);
  model.encoder.forward(input, tape, Keep::output);
  Tensor<float> dhidden(input.tokens(), 12);
  CHECK_THROWS_AS(model.encoder.backward(tape, dhidden), ShapeError);
}

TEST_CASE("a saved encoder loads to the same bits, in narrow types to the rounded ones", "[model][encoder]") {
  const std::string type = GENERATE("bert", "distilbert", "roberta");
  const Index labels = GENERATE(0, 1, 2, 3);
  const test::TemporaryFolder folder;
  const auto model = tiny_encoder(tiny_encoder_config(type, labels));
  model.save(folder.path());
  const auto back = EncoderCheckpoint::load(folder.path());
  CHECK(back.encoder.shape().labels == labels);
  REQUIRE(back.encoder.parameters().size() == model.encoder.parameters().size());
  CHECK(std::equal(back.encoder.parameters().data(), back.encoder.parameters().data() + back.encoder.parameters().size(),
                   model.encoder.parameters().data()));
  model.save(folder.path(), io::Dtype::bf16);
  const auto narrow = EncoderCheckpoint::load(folder.path());
  CHECK(narrow.config["dtype"] == "bfloat16");
  for (Index i = 0; i < narrow.encoder.parameters().size(); ++i) {
    const double value = static_cast<double>(model.encoder.parameters().data()[i]);
    REQUIRE(std::abs(static_cast<double>(narrow.encoder.parameters().data()[i]) - value) <= std::abs(value) / 256);
  }
}

TEST_CASE("a checkpoint that contradicts itself is refused by name", "[model][encoder][error]") {
  const test::TemporaryFolder folder;
  tiny_encoder(tiny_encoder_config("bert", 1)).save(folder.path());
  const io::Json good = io::read_json(folder / "config.json");
  const auto failure = [&](std::string_view key, const io::Json& value) {
    io::Json config = good;
    config[std::string(key)] = value;
    io::write_file_atomically(folder / "config.json", config.dump());
    try {
      EncoderCheckpoint::load(folder.path());
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CHECK_THAT(failure("model_type", "gpt2"), Catch::Contains("gpt2") && Catch::Contains("bert, distilbert, roberta"));
  CHECK_THAT(failure("hidden_size", 24), Catch::Contains("bert.embeddings.word_embeddings.weight") &&
                                             Catch::Contains("[20, 12]") && Catch::Contains("[20, 24]"));
  CHECK_THAT(failure("num_hidden_layers", 4), Catch::Contains("layer.3") && Catch::Contains("missing"));
  CHECK_THAT(failure("num_hidden_layers", 2), Catch::Contains("layer.2") && Catch::Contains("2"));
  CHECK_THAT(failure("layer_norm_eps", -1), Catch::Contains("epsilon > 0") && Catch::Contains("-1"));
  CHECK_THAT(failure("num_hidden_layers", 1000000000), Catch::Contains("layers promised"));
  CHECK_THAT(failure("vocab_size", 1LL << 30), Catch::Contains("word_embeddings"));
  CHECK_THAT(failure("vocab_size", 1LL << 40), Catch::Contains("vocabulary size below 2^31"));
  CHECK_THAT(failure("num_attention_heads", 5), Catch::Contains("multiple of 5"));
  CHECK_THAT(failure("num_attention_heads", 0), Catch::Contains("heads 0"));
  CHECK_THAT(failure("hidden_act", "mish"), Catch::Contains("mish") && Catch::Contains("gelu"));
  CHECK_THAT(failure("position_embedding_type", "relative_key"), Catch::Contains("relative_key"));
  CHECK_THAT(failure("is_decoder", true), Catch::Contains("is_decoder"));
  CHECK_THAT(failure("num_labels", 7), Catch::Contains("classifier.weight"));
  CHECK_THAT(failure("hidden_size", nullptr), Catch::Contains("hidden_size is missing"));
  std::filesystem::remove(folder / "model.safetensors");
  CHECK_THROWS_AS(EncoderCheckpoint::load(folder.path()), RunError);
}

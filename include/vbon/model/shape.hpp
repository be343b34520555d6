// vbon/model/shape.hpp
//
// Everything that tells one causal language model from another, as one value: sizes, and the choices its
// family made (norm, position, MLP, residual). A family is a struct of static choices (family/*.hpp);
// they are copied in here, so that one instantiation of the blocks serves every family.
#pragma once
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"

namespace vbon::model {
enum class Norm { rms, layer };                // x / rms(x) * w, or (x - mean) / std * w + b
enum class Position { rotary, learned };       // rotate q and k, or add a row of a table
enum class Mlp { gated, plain };               // down(act(gate) * up), or down(act(up))
enum class Residual { sequential, parallel };  // parallel: attention and MLP read the same input
enum class Activation { silu, gelu_exact, gelu_tanh, relu };
enum class QkvStorage { separate, stacked, by_head };  // of a checkpoint; by_head: [head][q, k, v][dim]
enum class RopeScaling { none, linear, llama3 };

/// The frequencies of a rotary position embedding.
struct Rope {
  double theta = 10000;
  Index dim = 0;  // rotated entries of each head [even, <= head_dim]; the rest pass unchanged
  RopeScaling scaling = RopeScaling::none;
  double factor = 1;
  double low_freq_factor = 1;   // llama3
  double high_freq_factor = 4;  // llama3
  double original_context = 0;  // llama3 [tokens]
  std::vector<float> divisor;   // [dim / 2] a GGUF file's own divisors of the frequencies; empty: none
};

struct Shape {
  std::string family;  // name of the struct of choices
  Norm norm = Norm::rms;
  Position position = Position::rotary;
  Mlp mlp = Mlp::gated;
  Residual residual = Residual::sequential;
  Activation activation = Activation::silu;

  Index vocab = 0;
  Index width = 0;   // C
  Index layers = 0;  // L
  Index heads = 0;
  Index kv_heads = 0;  // each serves heads / kv_heads query heads
  Index head_dim = 0;
  Index inner = 0;    // width of the MLP's hidden layer
  Index context = 0;  // longest sequence [tokens]
  Index labels = 0;   // 0: the head predicts tokens; otherwise a score head with that many outputs

  bool tied = false;  // the token head is the embedding table
  bool qkv_bias = false;
  bool attention_out_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;           // RMS norm of every head of q and k before the rotation
  bool scale_by_layer = false;    // attention scores of layer l (from 0) are divided by l + 1
  bool scale_by_head_dim = true;  // attention scores are divided by sqrt(head_dim)
  bool scale_embedding = false;   // embeddings are multiplied by sqrt(C)
  bool norm_from_one = false;     // norms multiply by 1 + w
  double norm_eps = 1e-5;
  Rope rope;

  TokenId bos = -1, pad = -1;  // -1: none
  std::vector<TokenId> eos;

  Index q_width() const { return heads * head_dim; }
  Index kv_width() const { return kv_heads * head_dim; }
  float embedding_scale() const { return scale_embedding ? std::sqrt(static_cast<float>(width)) : 1.0f; }
  float attention_scale(Index layer) const {
    const double by_dim = scale_by_head_dim ? 1 / std::sqrt(static_cast<double>(head_dim)) : 1.0;
    return static_cast<float>(scale_by_layer ? by_dim / static_cast<double>(layer + 1) : by_dim);
  }
};

/// Holds the sizes of a shape against each other.
/// @param source  names the file in messages
/// @throws ConfigError naming the entry, its value and what would fit
template <class = void>
void check(const Shape& shape, std::string_view source) {
  constexpr Index most = Index{1} << 31;  // products of two sizes stay far inside Index
  const auto positive = [&](Index value, std::string_view what) {
    require<ConfigError>(value >= 1 && value < most, source, ": ", what, " in [1, 2^31) expected, got ", value);
  };
  positive(shape.vocab, "vocabulary size");
  positive(shape.width, "hidden size");
  positive(shape.layers, "number of layers");
  positive(shape.heads, "number of attention heads");
  positive(shape.kv_heads, "number of key/value heads");
  positive(shape.head_dim, "head size");
  positive(shape.inner, "MLP size");
  positive(shape.context, "context length");
  require<ConfigError>(shape.heads % shape.kv_heads == 0, source, ": ", shape.kv_heads, " key/value heads do not divide ",
                       shape.heads, " attention heads");
  require<ConfigError>(std::isfinite(shape.norm_eps) && shape.norm_eps > 0, source, ": norm epsilon > 0 expected, got ",
                       shape.norm_eps);
  if (shape.position == Position::rotary) {
    const Rope& rope = shape.rope;
    require<ConfigError>(std::isfinite(rope.theta) && rope.theta > 0, source, ": rope theta > 0 expected, got ", rope.theta);
    require<ConfigError>(rope.dim >= 2 && rope.dim % 2 == 0 && rope.dim <= shape.head_dim, source,
                         ": an even number of rotated dimensions in [2, ", shape.head_dim, "] expected, got ", rope.dim);
    require<ConfigError>(std::isfinite(rope.factor) && rope.factor > 0, source, ": rope scaling factor > 0 expected, got ",
                         rope.factor);
    if (rope.scaling == RopeScaling::llama3)
      require<ConfigError>(rope.low_freq_factor > 0 && rope.high_freq_factor > rope.low_freq_factor &&
                               rope.original_context > 0 && std::isfinite(rope.original_context) &&
                               std::isfinite(rope.high_freq_factor),
                           source, ": llama3 rope scaling: 0 < low_freq_factor < high_freq_factor and a positive ",
                           "original_max_position_embeddings expected, got ", rope.low_freq_factor, ", ",
                           rope.high_freq_factor, ", ", rope.original_context);
    require<ConfigError>(rope.divisor.empty() || static_cast<Index>(rope.divisor.size()) == rope.dim / 2, source,
                         ": rope_freqs holds ", rope.divisor.size(), " values, ", rope.dim / 2, " expected");
  }
  const auto token = [&](TokenId id, std::string_view what) {
    require<ConfigError>(id >= -1 && id < shape.vocab, source, ": ", what, " id ", id, " lies outside the vocabulary of ",
                         shape.vocab);
  };
  token(shape.bos, "begin token");
  token(shape.pad, "padding token");
  for (const TokenId id : shape.eos) token(id, "end token");
}
}  // namespace vbon::model

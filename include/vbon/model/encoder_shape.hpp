// vbon/model/encoder_shape.hpp
//
// What a BERT-like encoder is made of: its sizes, its few choices, and the places a checkpoint tensor
// can go to. A family (family/bert.hpp, ...) reads the sizes from config.json and names the places.
#pragma once
#include <cmath>
#include <string>
#include <string_view>
#include <utility>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"
#include "vbon/model/shape.hpp"

namespace vbon::model {
/// Between the two maps of a classification head.
enum class HeadActivation { tanh, relu };

/// Sizes and choices of one encoder.
struct EncoderShape {
  Index vocabulary = 0;
  Index positions = 0;  // rows of the position table
  Index types = 0;      // rows of the token type table; 0: the family has none
  Index width = 0;      // C
  Index layers = 0;     // L
  Index heads = 0;
  Index intermediate = 0;  // width of the feed-forward block
  double norm_epsilon = 1e-12;
  Activation activation = Activation::gelu_exact;
  HeadActivation head_activation = HeadActivation::tanh;
  TokenId pad_id = 0;
  bool positions_skip_pad = false;  // RoBERTa: positions count the tokens that are not pad_id, from pad_id + 1
  Index labels = 0;                 // outputs of the classification head; 0: no head

  /// The longest sequence the position table serves [tokens].
  Index max_length() const { return positions_skip_pad ? positions - pad_id - 1 : positions; }
};

/// @throws ConfigError when the sizes cannot belong to an encoder
/// @param where  begins the message: the config's file
template <class = void>
void check(const EncoderShape& shape, std::string_view where = "encoder") {
  require<ConfigError>(shape.vocabulary > 0 && shape.width > 0 && shape.layers > 0 && shape.heads > 0 &&
                           shape.intermediate > 0 && shape.types >= 0 && shape.labels >= 0 && shape.max_length() > 0,
                       where, ": sizes > 0 expected, got vocabulary ", shape.vocabulary, ", width ", shape.width,
                       ", layers ", shape.layers, ", heads ", shape.heads, ", intermediate ", shape.intermediate,
                       ", positions ", shape.positions);
  for (const auto& [name, size] : {std::pair{"vocabulary", shape.vocabulary},
                                   {"positions", shape.positions},
                                   {"types", shape.types},
                                   {"width", shape.width},
                                   {"layers", shape.layers},
                                   {"intermediate", shape.intermediate},
                                   {"labels", shape.labels}})
    require<ConfigError>(size < (Index{1} << 31), where, ": a ", name, " size below 2^31 expected, got ", size);
  require<ConfigError>(shape.width % shape.heads == 0, where, ": width ", shape.width, " is not a multiple of ", shape.heads,
                       " heads");
  require<ConfigError>(shape.norm_epsilon > 0 && std::isfinite(shape.norm_epsilon), where,
                       ": a norm epsilon > 0 expected, got ", shape.norm_epsilon);
}

/// The places of an encoder's tensors; each holds a NAME.weight, and all but the tables a NAME.bias.
enum class EncoderSlot {
  word_table,
  position_table,
  type_table,
  embedding_norm,
  query,
  key,
  value,
  attention_output,
  attention_norm,
  up,
  down,
  output_norm,
  head_dense,
  head_output,
};

/// How a family spells its tensors, as data: what is left of a family once its config is read.
struct EncoderNames {
  std::string_view prefix;                               // "bert.": in front of all but the head in files with a head
  std::string (*tensor)(EncoderSlot slot, Index layer);  // without the prefix; head slots are complete
};
}  // namespace vbon::model

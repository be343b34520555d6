// Decoders by name. Their loops are behind this header: a command that includes it compiles in seconds.
#pragma once
#include <functional>
#include <string>

#include "models.hpp"
#include "vbon/data/answer.hpp"
#include "vbon/decode/concept.hpp"

namespace vbon::program {
/// A decoder with its options, whose type is known only at run time.
struct AnyDecoder {
  std::string name;
  io::Json settings;      // "decoder", and "decoder.OPTION" for each of its options
  std::string note = {};  // how its settings were found, where they were not given
  std::function<Decoded(Policy&, const reward::Any&, const Prompt&, RngKey)> decode;
};
/// @param spec  "name" or "name:option=value,option=value"
/// @throws ConfigError listing the known names, options or values; DomainError for a value out of its range
/// @param answer_of  of a response, for decoders that count votes
AnyDecoder make_decoder(const std::string& spec, const AnswerOf& answer_of = {});

/// What each decoder does and its options, for `vbon inspect decoders`.
std::string list_decoders();
}  // namespace vbon::program

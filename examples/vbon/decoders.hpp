// Decoders by name. Their loops are behind this header: a command that includes it compiles in seconds.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "models.hpp"
#include "vbon/data/answer.hpp"
#include "vbon/decode/concept.hpp"

namespace vbon::program {
/// A decoder with its options, whose type is known only at run time.
struct AnyDecoder {
  std::string name;
  io::Json settings;       // "decoder", and "decoder.OPTION" for each of its options
  std::string note = {};   // how its settings were found, where they were not given
  bool doubtful = false;   // they are at the end of what was looked at
  bool votes = false;      // it asks which answers agree
  std::string dpo = {};    // a further model that its options name
  std::string value = {};  // a further reward that they name, as --reward would
  std::function<Decoded(Policy&, const reward::Any&, const Prompt&, RngKey)> decode = {};
  std::function<void(const Common&)> on_start = {};
  std::function<void(const std::string&, Policy&)> on_model = {};

  /// Opens the reward of the option `value`. Call it once, before models are loaded.
  /// @throws what open_reward throws
  void open_value(const Common& common) const {
    if (on_start) on_start(common);
  }
  /// Loads the model of the option `dpo`. Call it once, before decode.
  /// @param model   the place of the model that samples, empty for the fetched one
  /// @param policy  the same, loaded
  /// @throws ConfigError when the two differ in their vocabularies, and what Policy::load throws
  void open_dpo(const std::string& model, Policy& policy) const {
    if (on_model) on_model(model, policy);
  }
};
/// @param spec  "name" or "name:option=value,option=value"
/// @throws ConfigError listing the known names, options or values; DomainError for a value out of its range
/// @param answer_of  of a response, for decoders that count votes
AnyDecoder make_decoder(const std::string& spec, const AnswerOf& answer_of = {});

/// True for the name of a decoder.
bool is_decoder(std::string_view name);
/// All names of decoders, separated by ", ".
std::string known_decoders();

/// What each decoder does and its options, for `vbon inspect decoders`.
std::string list_decoders();
}  // namespace vbon::program

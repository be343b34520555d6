// vbon/model/config.hpp
//
// Typed, checked reading of a checkpoint's config.json: every access names the entry, what it holds and
// what was expected. Also the entries whose spelling changed between versions of the tools that write
// them (rotary settings, end tokens, labels), which several families share.
#pragma once
#include <cmath>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/model/rope_scaling.hpp"
#include "vbon/model/shape.hpp"

namespace vbon::model {
using Json = nlohmann::json;
using Names = std::initializer_list<std::string_view>;  // spellings of one entry, the preferred one first

/// One object of a config file. Null counts as absent. Errors are ConfigErrors.
class ConfigReader {
 public:
  template <class = void>
  ConfigReader(const Json& json, std::string source) : json_(&json), source_(std::move(source)) {
    require<ConfigError>(json.is_object(), source_, ": an object expected, got ", json.type_name());
  }
  const std::string& source() const { return source_; }

  template <class = void>
  bool has(Names names) const {
    return find(names) != nullptr;
  }
  template <class = void>
  Index integer(Names names) const {
    return to_integer(demand(names), names);
  }
  template <class = void>
  Index integer_or(Names names, Index absent) const {
    const Json* value = find(names);
    return value ? to_integer(*value, names) : absent;
  }
  template <class = void>
  double number_or(Names names, double absent) const {
    const Json* value = find(names);
    if (!value) return absent;
    require<ConfigError>(value->is_number(), wrong(names, "a number", *value));
    const double number = value->get<double>();
    require<ConfigError>(std::isfinite(number), wrong(names, "a finite number", *value));
    return number;
  }
  template <class = void>
  bool flag_or(Names names, bool absent) const {
    const Json* value = find(names);
    if (!value) return absent;
    require<ConfigError>(value->is_boolean(), wrong(names, "true or false", *value));
    return value->get<bool>();
  }
  template <class = void>
  std::string text(Names names) const {
    return to_text(demand(names), names);
  }
  template <class = void>
  std::string text_or(Names names, std::string_view absent) const {
    const Json* value = find(names);
    return value ? to_text(*value, names) : std::string(absent);
  }
  /// One id or a list of ids.
  template <class = void>
  std::vector<TokenId> tokens(Names names) const {
    const Json* value = find(names);
    std::vector<TokenId> ids;
    if (!value) return ids;
    if (value->is_array()) {
      for (const Json& id : *value) ids.push_back(to_token(id, names));
    } else {
      ids.push_back(to_token(*value, names));
    }
    return ids;
  }
  template <class = void>
  TokenId token_or(Names names, TokenId absent) const {
    const auto ids = tokens(names);
    return ids.empty() ? absent : ids.front();
  }
  /// The names in a list such as "architectures".
  template <class = void>
  std::vector<std::string> texts(Names names) const {
    const Json* value = find(names);
    std::vector<std::string> out;
    if (!value) return out;
    require<ConfigError>(value->is_array(), wrong(names, "a list", *value));
    for (const Json& entry : *value) out.push_back(to_text(entry, names));
    return out;
  }
  /// An object inside this one; call only where has().
  template <class = void>
  ConfigReader object(Names names) const {
    return ConfigReader(demand(names), source_ + ": " + std::string(*names.begin()));
  }
  /// Number of members of an object inside this one; 0 when absent.
  template <class = void>
  Index members(Names names) const {
    const Json* value = find(names);
    if (!value) return 0;
    require<ConfigError>(value->is_object(), wrong(names, "an object", *value));
    return static_cast<Index>(value->size());
  }
  /// Fails, naming an entry whose value is none of the known ones.
  [[noreturn]] void unknown(std::string_view name, std::string_view value, std::string_view known) const {
    throw ConfigError(message(source_, ": ", name, " '", value, "' is unknown; known: ", known));
  }

 private:
  template <class = void>
  const Json* find(Names names) const {
    for (const auto name : names)
      if (const auto it = json_->find(std::string(name)); it != json_->end() && !it->is_null()) return &*it;
    return nullptr;
  }
  template <class = void>
  const Json& demand(Names names) const {
    const Json* value = find(names);
    require<ConfigError>(value != nullptr, source_, ": ", *names.begin(),
                         " is missing; restore the file as its checkpoint has it");
    return *value;
  }
  template <class = void>
  std::string wrong(Names names, std::string_view expected, const Json& value) const {
    std::string shown = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    if (shown.size() > 60) shown = shown.substr(0, 60) + "...";
    return message(source_, ": ", *names.begin(), ": ", expected, " expected, got ", shown);
  }
  template <class = void>
  Index to_integer(const Json& value, Names names) const {
    require<ConfigError>(value.is_number_integer() &&
                             (!value.is_number_unsigned() ||
                              value.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<Index>::max())),
                         wrong(names, "a whole number", value));
    return value.get<Index>();
  }
  template <class = void>
  TokenId to_token(const Json& value, Names names) const {
    const Index id = to_integer(value, names);
    require<ConfigError>(id >= -1 && id <= std::numeric_limits<TokenId>::max(), wrong(names, "a token id", value));
    return static_cast<TokenId>(id);
  }
  template <class = void>
  std::string to_text(const Json& value, Names names) const {
    require<ConfigError>(value.is_string(), wrong(names, "a string", value));
    return value.get<std::string>();
  }

  const Json* json_;
  std::string source_;
};

/// The activation of an MLP from its name.
template <class = void>
Activation read_activation(const ConfigReader& config, Names names, std::string_view absent) {
  const std::string name = config.text_or(names, absent);
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu") return Activation::gelu_exact;
  if (name == "gelu_new" || name == "gelu_fast" || name == "gelu_pytorch_tanh") return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  config.unknown(*names.begin(), name, "silu, swish, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu");
}

template <class = void>
std::string_view activation_name(Activation activation) {
  switch (activation) {
    case Activation::silu:
      return "silu";
    case Activation::gelu_exact:
      return "gelu";
    case Activation::gelu_tanh:
      return "gelu_new";
    case Activation::relu:
      return "relu";
  }
  throw ConfigError("activation_name: a value outside Activation");
}

/// Rotary settings in the current spelling (rope_parameters) or the older ones (rope_theta, rope_scaling,
/// rotary_pct, rotary_emb_base, partial_rotary_factor).
/// @param partial  share of each head that is rotated when the file does not say; 1: the family rotates whole heads
template <class = void>
Rope read_rope(const ConfigReader& config, Index head_dim, Index context, double partial = 1) {
  Rope rope;
  const bool current = config.has({"rope_parameters"});
  const ConfigReader parameters = current ? config.object({"rope_parameters"}) : config;
  const double theta = config.number_or({"rope_theta", "rotary_emb_base"}, 10000);
  rope.theta = current ? parameters.number_or({"rope_theta"}, theta) : theta;
  const double share = config.number_or({"partial_rotary_factor", "rotary_pct"}, partial);
  const double rotated = current ? parameters.number_or({"partial_rotary_factor"}, share) : share;
  require<ConfigError>(rotated > 0 && rotated <= 1, config.source(), ": a rotary share in (0, 1] expected, got ", rotated);
  require<ConfigError>(
      rotated == 1 || partial < 1, config.source(), ": partial_rotary_factor = ", rotated,
      ", but this model_type rotates whole heads; 1 is expected, or a family that rotates a part (gpt_neox)");
  rope.dim = static_cast<Index>(static_cast<double>(head_dim) * rotated);

  if (!current && !config.has({"rope_scaling"})) return rope;
  const ConfigReader scaling = current ? parameters : config.object({"rope_scaling"});
  const std::string type = scaling.text_or({"rope_type", "type"}, "default");
  if (type == "default") return rope;
  if (type == "linear") {
    rope.scaling = RopeScaling::linear;
  } else if (type == "llama3") {
    rope.scaling = RopeScaling::llama3;
    rope.low_freq_factor = scaling.number_or({"low_freq_factor"}, 1);
    rope.high_freq_factor = scaling.number_or({"high_freq_factor"}, 4);
    rope.original_context = scaling.number_or({"original_max_position_embeddings"}, static_cast<double>(context));
  } else {
    scaling.unknown("rope_type", type, "default, linear, llama3");
  }
  require<ConfigError>(scaling.has({"factor"}), scaling.source(), ": factor is missing");
  rope.factor = scaling.number_or({"factor"}, 1);
  return rope;
}

/// @throws ConfigError for divisors of a GGUF file that no config.json can say
template <class = void>
void require_config_says(const Rope& rope) {
  require<ConfigError>(rope.divisor.empty() || llama3_from_divisor(rope).scaling == RopeScaling::llama3,
                       "this model's rotary frequencies (rope_freqs.weight of its GGUF file) are not those of a Llama 3 "
                       "scaling, and config.json has no other entry for them; save it as a GGUF file");
}

/// Writes rotary settings in the older spelling, which old and new tools read.
template <class = void>
void write_rope(const Rope& read, Json& config) {
  const Rope rope = read.divisor.empty() ? read : llama3_from_divisor(read);
  config["rope_theta"] = rope.theta;
  config["rope_scaling"] = nullptr;
  if (rope.scaling == RopeScaling::linear) config["rope_scaling"] = {{"rope_type", "linear"}, {"factor", rope.factor}};
  if (rope.scaling == RopeScaling::llama3)
    config["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", rope.factor},
                              {"low_freq_factor", rope.low_freq_factor},
                              {"high_freq_factor", rope.high_freq_factor},
                              {"original_max_position_embeddings", static_cast<Index>(rope.original_context)}};
}

/// Special tokens, and how many outputs a score head has (0: the checkpoint predicts tokens).
template <class = void>
void read_common(const ConfigReader& config, Shape& shape) {
  shape.bos = config.token_or({"bos_token_id"}, -1);
  shape.pad = config.token_or({"pad_token_id"}, -1);
  shape.eos = config.tokens({"eos_token_id"});
  for (const std::string& name : config.texts({"architectures"}))
    if (name.ends_with("ForSequenceClassification")) {
      const Index listed = config.members({"id2label"});
      shape.labels = config.integer_or({"num_labels"}, listed > 0 ? listed : 2);
      require<ConfigError>(shape.labels >= 1, config.source(), ": num_labels >= 1 expected, got ", shape.labels);
    }
}

/// The names of a classifier's outputs, as transformers numbers them.
template <class = void>
void write_labels(Json& config, Index labels) {
  config["id2label"] = config["label2id"] = Json::object();
  for (Index label = 0; label < labels; ++label) {
    const std::string name = "LABEL_" + std::to_string(label);
    config["id2label"][std::to_string(label)] = name;
    config["label2id"][name] = label;
  }
}

/// The entries every family writes.
template <class = void>
Json write_common(const Shape& shape, std::string_view model_type, std::string_view class_prefix) {
  Json config;
  config["model_type"] = model_type;
  config["architectures"] = {std::string(class_prefix) + (shape.labels > 0 ? "ForSequenceClassification" : "ForCausalLM")};
  config["vocab_size"] = shape.vocab;
  config["tie_word_embeddings"] = shape.tied;
  config["bos_token_id"] = shape.bos < 0 ? Json(nullptr) : Json(shape.bos);
  config["pad_token_id"] = shape.pad < 0 ? Json(nullptr) : Json(shape.pad);
  config["eos_token_id"] = shape.eos.empty() ? Json(nullptr) : shape.eos.size() == 1 ? Json(shape.eos[0]) : Json(shape.eos);
  if (shape.labels > 0) write_labels(config, shape.labels);
  return config;
}
}  // namespace vbon::model

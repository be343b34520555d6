#include "decoders.hpp"

#include "option_value.hpp"
#include "vbon/decode/registry.hpp"
#include "vbon/text/tokenizer.hpp"

namespace vbon::program {
namespace {
/// A value of an options struct as JSON; JSON has no infinity.
template <class T>
io::Json option_json(const T& field) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::isfinite(field) ? io::Json(field) : io::Json(option_text(field));
  } else if constexpr (std::is_arithmetic_v<T>) {
    return field;
  } else {
    return option_text(field);
  }
}

/// A later round goes on behind the tokens of the first: written as text and read again, a prompt that a chat template
/// made would begin twice.
decode::Propose propose_with(const Policy& policy) {
  return [&policy](const Prompt& prompt, const decode::Candidate& best, const decode::Candidate& worst) {
    const Prompt shown = decode::show_both(prompt, best, worst);
    return policy.continued(prompt, shown.text.substr(prompt.text.size()));
  };
}

template <class D>
AnyDecoder any_decoder(D decoder) {
  AnyDecoder any{.name = std::string(D::name), .settings = {{"decoder", D::name}}, .decode = {}};
  decoder.each_option([&](std::string_view option, auto& field, std::string_view) {
    any.settings[message("decoder.", option)] = option_json(field);
  });
  any.decode = [decoder](Policy& policy, const reward::Any& reward, const Prompt& prompt, RngKey key) {
    if constexpr (requires { D::propose; }) {
      D with_prompts = decoder;
      with_prompts.propose = propose_with(policy);
      return with_prompts(policy, reward, prompt, key);
    } else {
      return decoder(policy, reward, prompt, key);
    }
  };
  return any;
}
}  // namespace

AnyDecoder make_decoder(const std::string& spec) {
  const auto [name, options] = name_and_argument(spec);
  // Of the decode folder, but no decoder: it chooses a setting of one and draws nothing.
  require<ConfigError>(!same_name(name, "hedge"),
                       "hedge chooses the N of best_of_n from pairs of proxy and true reward, which a command line does not "
                       "have; compute N with HedgeCurve of vbon/decode/hedge.hpp and give best_of_n:n=N");
  std::vector<std::string> known;
  for_each_entry<decode::Registry>([&](const auto& decoder) { known.emplace_back(decoder.name); });
  AnyDecoder chosen;
  for_each_entry<decode::Registry>([&, &name = name, &options = options](auto decoder) {
    if (chosen.decode || !same_name(decoder.name, name)) return;
    set_options(message("decoder ", decoder.name), decoder, options);
    decoder.check();
    chosen = any_decoder(std::move(decoder));
  });
  require<ConfigError>(static_cast<bool>(chosen.decode), unknown("decoder", name, known));
  return chosen;
}

std::string list_decoders() {
  std::string out;
  for_each_entry<decode::Registry>([&](auto decoder) {
    out += message(decoder.name, ": ", decoder.about, "\n");
    decoder.each_option([&](std::string_view option, auto& field, std::string_view help) {
      out += message("    ", option, " = ", option_text(field), "   ", help, "\n");
    });
  });
  return out;
}
}  // namespace vbon::program

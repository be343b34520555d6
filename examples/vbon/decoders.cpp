#include "decoders.hpp"

#include "option_value.hpp"
#include "vbon/decode/registry.hpp"
#include "vbon/eval/calibration.hpp"
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
/// Best-of-N or best-of-Poisson with the setting that calibration pairs choose.
struct Hedge {
  static constexpr std::string_view name = "hedge";
  static constexpr std::string_view about = "best_of_n or best_of_poisson, with the setting that is best by a truer reward";
  std::string calibration;
  eval::Hedged setting = eval::Hedged::best_of_n;
  Index largest = 64;
  void each_option(auto&& f) {
    f("calibration", calibration, "JSON lines {\"proxy\", \"true\"}, as vbon calibrate writes them");
    f("setting", setting, "what is chosen: best_of_n (its n) or best_of_poisson (its mu)");
    f("largest", largest, "draws at most, >= 1");
  }
};

/// @throws ConfigError, FormatError
AnyDecoder hedged(const Hedge& hedge, const AnswerOf& answer_of) {
  require<ConfigError>(!hedge.calibration.empty(),
                       "decoder hedge: option calibration is missing; give the file that vbon calibrate wrote, as "
                       "hedge:calibration=calibration.jsonl");
  const auto curve = eval::hedge_curve(eval::read_calibration(hedge.calibration), hedge.setting, hedge.largest);
  const decode::HedgeChoice choice = eval::hedge_choice(curve);
  const double best = curve[choice.index].setting;
  AnyDecoder any = make_decoder(
      hedge.setting == eval::Hedged::best_of_n ? message("best_of_n:n=", best) : message("best_of_poisson:mu=", best),
      answer_of);
  any.note = message("hedge: ", any.name, " with ", hedge.setting == eval::Hedged::best_of_n ? "n = " : "mu = ", best,
                     ", true reward ", choice.value, " (", curve.front().value, " without it)",
                     choice.at_end ? "; this is the end of the curve, which may rise further: give a larger 'largest'" : "");
  return any;
}
}  // namespace

AnyDecoder make_decoder(const std::string& spec, const AnswerOf& answer_of) {
  const auto [name, options] = name_and_argument(spec);
  if (same_name(name, Hedge::name)) {
    Hedge hedge;
    set_options("decoder hedge", hedge, options);
    return hedged(hedge, answer_of);
  }
  std::vector<std::string> known;
  for_each_entry<decode::Registry>([&](const auto& decoder) { known.emplace_back(decoder.name); });
  AnyDecoder chosen;
  for_each_entry<decode::Registry>([&, &name = name, &options = options](auto decoder) {
    if (chosen.decode || !same_name(decoder.name, name)) return;
    set_options(message("decoder ", decoder.name), decoder, options);
    decoder.check();
    if constexpr (requires { decoder.answer; }) {
      if (answer_of) decoder.answer = [answer_of](const decode::Candidate& candidate) { return answer_of(candidate.text); };
    } else {
      require<ConfigError>(!answer_of, "--answer-pattern: decoder ", decoder.name,
                           " does not ask which answers agree; majority_vote does");
    }
    chosen = any_decoder(std::move(decoder));
  });
  known.emplace_back(Hedge::name);
  require<ConfigError>(static_cast<bool>(chosen.decode), unknown("decoder", name, known));
  return chosen;
}

std::string list_decoders() {
  std::string out;
  const auto add = [&](auto decoder) {
    out += message(decoder.name, ": ", decoder.about, "\n");
    decoder.each_option([&](std::string_view option, auto& field, std::string_view help) {
      out += message("    ", option, " = ", option_text(field), "   ", help, "\n");
    });
  };
  for_each_entry<decode::Registry>(add);
  add(Hedge{});
  return out;
}
}  // namespace vbon::program

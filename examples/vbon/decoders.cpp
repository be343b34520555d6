#include "decoders.hpp"

#include <memory>
#include <optional>

#include "option_value.hpp"
#include "vbon/decode/registry.hpp"
#include "vbon/eval/calibration.hpp"
#include "vbon/io/utf8.hpp"
#include "vbon/policy/peft.hpp"
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

/// Name and settings; how it decodes is still to come.
template <class D>
AnyDecoder described(D decoder) {
  AnyDecoder any{.name = std::string(D::name), .settings = {{"decoder", D::name}}};
  decoder.each_option([&](std::string_view option, auto& field, std::string_view) {
    any.settings[message("decoder.", option)] = option_json(field);
  });
  return any;
}
template <class D>
AnyDecoder any_decoder(D decoder) {
  AnyDecoder any = described(decoder);
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

/// @throws ConfigError naming the first token that is another one
void require_same_vocabulary(const Policy& policy, const Policy& dpo, const std::string& path) {
  const std::string remedy = "; give a model that was trained from the one that samples";
  const Index most = std::max(policy.tokenizer().vocab_size(), dpo.tokenizer().vocab_size());
  for (TokenId id = 0; id < most; ++id) {
    const auto ours = policy.tokenizer().token(id), theirs = dpo.tokenizer().token(id);
    require<ConfigError>(ours == theirs || ours.empty() || theirs.empty(), "decoder treebon: dpo=", path,
                         " has another vocabulary than the model that samples: token ", id, " is '", io::excerpt(theirs),
                         "' there and '", io::excerpt(ours), "' here", remedy);
  }
  // Rows beyond the tokens are padding, and may differ upwards: what is sampled has a log-prob there.
  require<ConfigError>(dpo.vocabulary() >= policy.vocabulary(), "decoder treebon: dpo=", path, " has ", dpo.vocabulary(),
                       " tokens, the model that samples ", policy.vocabulary(), remedy);
}

/// A model of its own, or a LoRA adapter of the one that samples.
AnyDecoder any_decoder(decode::TreeBon<> tree) {
  const std::string path = tree.partial.dpo;
  AnyDecoder any = described(tree);
  if (path.empty()) {
    any.decode = tree;
    return any;
  }
  require<ConfigError>(std::filesystem::exists(path), "decoder treebon: option dpo: there is no file or folder '", path,
                       "'; give a GGUF file, a Hugging Face folder or a LoRA adapter of the model that samples");
  any.dpo = path;
  const auto dpo = std::make_shared<std::optional<Policy>>();
  any.on_model = [dpo, path](const std::string& model, Policy& policy) {
    const std::filesystem::path place = path;
    dpo->emplace(policy::is_adapter(place) ? Policy::load(model, place, policy.bf16())
                                           : Policy::load(place, {}, policy.bf16()));
    require_same_vocabulary(policy, **dpo, path);
    require<ConfigError>((*dpo)->context() >= policy.context(), "decoder treebon: dpo=", path, " has a context of ",
                         (*dpo)->context(), " tokens, the model that samples ", policy.context(),
                         "; give a model whose context is as long");
    (*dpo)->sampler().temperature = policy.sampler().temperature;  // both log-probs are of the law that is sampled
  };
  any.decode = [dpo, tree](Policy& policy, const reward::Any& reward, const Prompt& prompt, RngKey key) {
    const decode::TreeBon<decode::ImplicitRewardSoFar<Policy>> by_dpo{
        .n = tree.n,
        .children = tree.children,
        .layers = tree.layers,
        .segment = tree.segment,
        .partial = {.dpo = &dpo->value(), .weight = tree.partial.weight}};
    return by_dpo(policy, reward, prompt, key);
  };
  return any;
}

/// Steered by a value of its own, where one is named.
template <template <class> class D>
AnyDecoder any_decoder(D<decode::SameAsReward> guided) {
  const std::string spec = guided.value.named;
  AnyDecoder any = described(guided);
  if (spec.empty()) {
    any.decode = guided;
    return any;
  }
  any.value = spec;
  const auto value = std::make_shared<reward::Any>();
  any.on_start = [value, spec](const Common& common) { *value = open_reward(spec, common); };
  any.decode = [value, guided](Policy& policy, const reward::Any& reward, const Prompt& prompt, RngKey key) {
    return guided.with_value(*value)(policy, reward, prompt, key);
  };
  return any;
}

/// A decoder with settings that are valid and votes that it can count.
template <class D>
AnyDecoder checked(D decoder, const AnswerOf& answer_of) {
  decoder.check();
  constexpr bool votes = requires { decoder.answer; };
  if constexpr (votes) {
    if (answer_of) decoder.answer = [answer_of](const decode::Candidate& candidate) { return answer_of(candidate.text); };
  } else {
    require<ConfigError>(!answer_of, "--answer-pattern: decoder ", decoder.name,
                         " does not ask which answers agree; majority_vote does");
  }
  AnyDecoder any = any_decoder(std::move(decoder));
  any.votes = votes;
  return any;
}

/// Another decoder with the setting that calibration pairs choose.
struct Hedge {
  static constexpr std::string_view name = "hedge";
  static constexpr std::string_view about = "another decoder, with the setting that is best by a truer reward";
  std::string calibration;
  eval::Hedged setting = eval::Hedged::best_of_n;
  std::optional<Index> largest, n;
  std::optional<double> r_max;
  void each_option(auto&& f) {
    f("calibration", calibration, "JSON lines {\"proxy\", \"true\"}, as vbon calibrate writes them");
    f("setting", setting,
      "what is chosen: best_of_n (its n), best_of_poisson (its mu), soft_best_of_n (its lambda) or pessimism (its beta)");
    f("largest", largest,
      "of best_of_n and best_of_poisson: draws at most, >= 1; unset: 64, or the pairs of a prompt if fewer");
    f("n", n,
      "of soft_best_of_n and pessimism: their n, >= 1; unset: 16, or for soft_best_of_n the pairs of a prompt if fewer");
    f("r_max", r_max, "of pessimism: its r_max; unset: 1");
  }
};

/// @throws ConfigError naming the option
void check(const Hedge& hedge) {
  using enum eval::Hedged;
  require<ConfigError>(!hedge.calibration.empty(),
                       "decoder hedge: option calibration is missing; give the file that vbon calibrate wrote, as "
                       "hedge:calibration=calibration.jsonl");
  const bool counts = hedge.setting == best_of_n || hedge.setting == best_of_poisson;
  const auto refuse = [&](std::string_view option, bool given, bool read) {
    require<ConfigError>(!given || read, "decoder hedge: option ", option,
                         " says nothing for setting=", option_text(hedge.setting), "; leave it out");
  };
  refuse("largest", hedge.largest.has_value(), counts);
  refuse("n", hedge.n.has_value(), !counts);
  refuse("r_max", hedge.r_max.has_value(), hedge.setting == pessimism);
  for (const auto& [option, value] : {std::pair("largest", hedge.largest), std::pair("n", hedge.n)})
    require<ConfigError>(!value || *value >= 1, "decoder hedge: option ", option, ": at least 1 expected, got ",
                         value.value_or(0));
}

/// @throws ConfigError, FormatError, DomainError
AnyDecoder hedged(const Hedge& hedge, const AnswerOf& answer_of) {
  using enum eval::Hedged;
  check(hedge);
  const eval::Calibration calibration = eval::read_calibration(hedge.calibration);
  const Index fewest = eval::fewest_pairs(calibration);
  eval::HedgeGrid grid;
  // What the pairs cannot tell of is not looked at unless it is asked for.
  const bool cut_largest = !hedge.largest && fewest < grid.largest, cut_n = !hedge.n && fewest < grid.n;
  grid.largest = hedge.largest.value_or(std::min(grid.largest, fewest));
  grid.n = hedge.n.value_or(std::min(grid.n, fewest));
  const auto curve = eval::hedge_curve(calibration, hedge.setting, grid);
  const decode::HedgeChoice choice = eval::hedge_choice(curve);
  const double best = curve[choice.index].setting;
  double mean = 0;  // true reward of one draw
  for (const auto& one : calibration) mean += one.best_of_n(1) / static_cast<double>(calibration.size());

  const bool followed = choice.last_ties && choice.index > 0;  // to the end of the curve, or all that counts of it
  AnyDecoder any;
  std::string note;  // what the user should know of the choice
  Index draws = 1;   // that the curve speaks of, at most
  if (hedge.setting == best_of_n || hedge.setting == best_of_poisson) {
    any = hedge.setting == best_of_n ? checked(decode::BestOfN{.n = static_cast<Index>(best)}, answer_of)
                                     : checked(decode::BestOfPoisson{.mu = best}, answer_of);
    draws = grid.largest;
    if (cut_largest) note += message("; the curve goes up to ", fewest, " draws, as many as a prompt has pairs");
    any.doubtful = choice.at_end;
    if (choice.at_end)
      note += message("; this is the end of the curve, which may rise further: give ",
                      cut_largest ? "more pairs a prompt, or " : "", "a larger 'largest'");
  } else if (hedge.setting == soft_best_of_n) {
    any = checked(decode::SoftBestOfN{.n = grid.n, .lambda = best}, answer_of);
    draws = grid.n;
    note += message(" and n = ", grid.n);
    if (cut_n) note += ", as many as a prompt has pairs";
    any.doubtful = followed;
    if (followed) note += "; with so small a lambda it is best_of_n, of which a larger n may be better still";
  } else {
    decode::Pessimism pessimism{.beta = best};
    pessimism.n = hedge.n.value_or(pessimism.n);
    pessimism.r_max = hedge.r_max.value_or(pessimism.r_max);
    any = checked(pessimism, answer_of);
    note += message(" and n = ", pessimism.n);
    any.doubtful = followed;
    if (followed) note += "; with so small a beta all weight is on the best, and best_of_n does as well";
  }
  if (choice.index == 0 && curve.size() > 1)
    note += "; this is the start of the curve: the reward is best not followed, and one draw does as well";
  if (draws > fewest) note += message("; beyond the ", fewest, " pairs that a prompt has the curve is an extrapolation");
  any.note = message("hedge: ", any.name, " with ", eval::setting_name(hedge.setting), " = ", option_text(best), note,
                     "; true reward ", option_text(choice.value), ", of one draw ", option_text(mean));
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
    chosen = checked(std::move(decoder), answer_of);
  });
  known.emplace_back(Hedge::name);
  require<ConfigError>(static_cast<bool>(chosen.decode), unknown("decoder", name, known));
  return chosen;
}

bool is_decoder(std::string_view name) { return has_entry<decode::Registry>(name) || same_name(name, Hedge::name); }
std::string known_decoders() { return message(known_names<decode::Registry>(), ", ", Hedge::name); }

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

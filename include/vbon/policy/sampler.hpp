// vbon/policy/sampler.hpp
//
// From next-token logits to the law that is sampled. The order is that of the Hugging Face tools:
// repetition penalty, minimum length, temperature, top-k, top-p, min-p. A removed token has logit -inf, so
// the log-probs of what remains are those of the law really sampled.
//
// Truncation (top-k, top-p, min-p), a repetition penalty and a minimum length change the law; a policy that
// is to be trained samples the full vocabulary at one temperature (full_law()).
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/core/types.hpp"

namespace vbon::policy {
struct Sampler {
  double temperature = 1;         // 0: the most probable token, lowest id among equals
  Index top_k = 0;                // keep the k most probable tokens and all that tie with the k-th; 0: all
  double top_p = 1;               // keep the smallest set of the most probable tokens with this mass
  double min_p = 0;               // keep tokens with at least this share of the highest probability
  double repetition_penalty = 1;  // divides positive and multiplies negative logits of tokens already there
  Index min_new_tokens = 0;       // no end token before
  Index max_new_tokens = 64;
  std::vector<TokenId> eos = {};  // tokens that end a response, and belong to it; none: never ends by itself

  bool greedy() const { return temperature == 0; }
  bool truncates() const { return top_k > 0 || top_p < 1 || min_p > 0; }
  /// True when a response's log-prob under the sampled law is its log-prob under the model at the temperature.
  bool full_law() const {
    return !greedy() && !truncates() && repetition_penalty == 1 && (min_new_tokens == 0 || eos.empty());
  }
  bool ends(TokenId token) const { return std::find(eos.begin(), eos.end(), token) != eos.end(); }

  /// @throws ConfigError naming the option
  template <class = void>
  void check() const {
    const auto in = [](double value, double low, double high, std::string_view name) {
      require<ConfigError>(value >= low && value <= high, "Sampler: ", name, " in [", low, ", ", high, "] expected, got ",
                           value);
    };
    require<ConfigError>(temperature == 0 || (temperature >= 1e-6 && temperature <= 1e6),
                         "Sampler: temperature in [1e-6, 1e6], or 0 for the most probable token, expected, got ",
                         temperature);
    in(top_p, 0, 1, "top_p");
    in(min_p, 0, 1, "min_p");
    in(repetition_penalty, 1e-6, 1e6, "repetition_penalty");
    require<ConfigError>(top_k >= 0, "Sampler: top_k >= 0 expected, got ", top_k);
    require<ConfigError>(max_new_tokens >= 1, "Sampler: max_new_tokens >= 1 expected, got ", max_new_tokens);
    require<ConfigError>(min_new_tokens >= 0 && min_new_tokens <= max_new_tokens, "Sampler: min_new_tokens in [0, ",
                         max_new_tokens, "] expected, got ", min_new_tokens);
  }
};

namespace detail {
inline constexpr float removed = -std::numeric_limits<float>::infinity();

template <class = void>
void penalise(std::span<float> logit, std::span<const TokenId> context, float penalty) {
  std::vector<TokenId> seen(context.begin(), context.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  for (const TokenId id : seen) {
    float& x = logit[static_cast<std::size_t>(id)];
    x = x < 0 ? x * penalty : x / penalty;
  }
}

template <class = void>
void keep_top_k(std::span<float> logit, Index k) {
  if (k >= static_cast<Index>(logit.size())) return;
  std::vector<float> order(logit.begin(), logit.end());
  const auto kth = order.begin() + (k - 1);
  std::nth_element(order.begin(), kth, order.end(), std::greater<>());
  for (float& x : logit)
    if (x < *kth) x = removed;
}

/// Probabilities (not normalised) relative to the highest.
inline std::vector<double> relative_probability(std::span<const float> logit) {
  const float top = *std::max_element(logit.begin(), logit.end());
  std::vector<double> p(logit.size());
  for (std::size_t i = 0; i < p.size(); ++i) p[i] = std::exp(static_cast<double>(logit[i]) - static_cast<double>(top));
  return p;
}

template <class = void>
void keep_top_p(std::span<float> logit, double top_p) {
  const std::vector<double> p = relative_probability(logit);
  std::vector<TokenId> order;
  for (std::size_t i = 0; i < logit.size(); ++i)
    if (p[i] > 0) order.push_back(static_cast<TokenId>(i));
  const auto value = [&](TokenId id) { return logit[static_cast<std::size_t>(id)]; };
  std::stable_sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return value(a) < value(b); });
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  double tail = 0;  // mass of the least probable tokens so far; the last token always stays
  for (std::size_t i = 0; i + 1 < order.size(); ++i) {
    tail += p[static_cast<std::size_t>(order[i])] / total;
    if (tail > 1 - top_p) break;
    logit[static_cast<std::size_t>(order[i])] = removed;
  }
}

inline void keep_min_p(std::span<float> logit, double min_p) {
  const std::vector<double> p = relative_probability(logit);
  for (std::size_t i = 0; i < p.size(); ++i)
    if (p[i] < min_p) logit[i] = removed;
}
}  // namespace detail

/// Turns logits into those of the sampled law, in place.
/// @param logit    [V]
/// @param context  tokens so far, prompt and response: what the repetition penalty looks at
/// @param length   tokens of the response so far
template <class = void>
void warp(const Sampler& sampler, std::span<float> logit, std::span<const TokenId> context, Index length) {
  if (sampler.repetition_penalty != 1) detail::penalise(logit, context, static_cast<float>(sampler.repetition_penalty));
  if (length < sampler.min_new_tokens)
    for (const TokenId id : sampler.eos) logit[static_cast<std::size_t>(id)] = detail::removed;
  if (sampler.greedy()) return;
  if (sampler.temperature != 1)
    for (float& x : logit) x /= static_cast<float>(sampler.temperature);
  if (sampler.top_k > 0) detail::keep_top_k(logit, sampler.top_k);
  if (sampler.top_p < 1) detail::keep_top_p(logit, sampler.top_p);
  if (sampler.min_p > 0) detail::keep_min_p(logit, sampler.min_p);
}
}  // namespace vbon::policy

// vbon/objective/bonbon.hpp
//
// BoNBoN: learn from both ends of n reference samples, likelihood of the best plus a squared contrast of
// best and worst at the margin that best-of-n itself has:
//
//   L = alpha mean(-log pi(best)) + (1 - alpha) mean (D - t_n)^2,    t_n = (n - 1) H_(n-1),
//
// because E[(n-1)(log U_(n) - log U_(1))] = t_n for uniform quantiles. The contrast is IPO at
// beta* = 1/(2 t_n). Source: Gui et al., "BoNBoN alignment", arXiv 2406.00832.
#pragma once
#include "vbon/bon/finite_law.hpp"
#include "vbon/core/special.hpp"
#include "vbon/objective/preference.hpp"

namespace vbon::objective {
/// t_n, exact for rewards without ties; below it where ties are common.
/// @throws DomainError for n < 2
inline double bonbon_margin(double n) {
  require_at_least("bonbon", "n", n, 2);
  return (n - 1) * harmonic_number(n - 1);
}

/// The margin that best-of-n has on a finite law, ties included: the mean of log(pi_bon/pi_ref) over best
/// samples minus that over worst ones.
/// @throws DomainError for n < 2
template <class = void>
double finite_margin(std::span<const double> probability, std::span<const double> reward, double n) {
  require_at_least("bonbon", "n", n, 2);
  const bon::Law best = bon::best_of_n_law(probability, reward, n), worst = bon::worst_of_n_law(probability, reward, n);
  double margin = 0;
  for (std::size_t k = 0; k < best.size(); ++k)
    if (probability[k] > 0) margin += (best[k] - worst[k]) * std::log(best[k] / probability[k]);
  return margin;
}

/// A group whose rewards are all equal gives no pair: it is left out and counted.
/// @throws DomainError for n < 2 (groups of one), alpha outside [0, 1]
struct BonBon {
  static constexpr std::string_view name = "bonbon";
  static constexpr Needs needs{.ref_log_prob = true, .min_group = 0, .reference_group = 2};
  using laws = Laws<law::Surrogate, law::Ranks, law::PerPrompt>;

  double alpha = 0.005;
  Index n = 0;  // reference samples the best and worst come from; 0: the size of the group
  void each_option(auto&& f) {
    f("alpha", alpha, "share of the likelihood term, in [0, 1]");
    f("margin_n", n, "samples that best and worst came from; 0: the group");
  }

  template <class = void>
  ObjectiveResult operator()(const RolloutBatch& batch) const {
    require_within(name, "alpha", alpha, 0, 1);
    require<DomainError>(n == 0 || n >= 2, "bonbon: n >= 2 expected (0: the size of the group), got ", n);
    require_groups(name, batch, 2);
    require_ordered(name, "reward", batch.reward, batch.responses());
    const Array ratio = log_ratio(name, batch), log_prob = per_response(batch, batch.log_prob);
    Array slope = Array::Zero(batch.responses());
    double sft = 0, contrast = 0, pairs = 0;
    for (const Group& g : groups(batch))
      for (const auto& [best, worst, weight] : build_pairs(PairRule::best_worst, batch.reward.segment(g.begin, g.size))) {
        const double margin = bonbon_margin(static_cast<double>(n > 0 ? n : g.size));
        const PairGrad ipo = Ipo{{.beta = 1 / (2 * margin)}}(ratio[g.begin + best] - ratio[g.begin + worst]);
        sft -= log_prob[g.begin + best];
        contrast += ipo.loss;
        slope[g.begin + best] += (1 - alpha) * ipo.slope - alpha;
        slope[g.begin + worst] -= (1 - alpha) * ipo.slope;
        ++pairs;
      }
    const double share = pairs > 0 ? 1 / pairs : 0;
    return {.loss = share * (alpha * sft + (1 - alpha) * contrast),
            .dlog_prob = per_token(batch, share * slope),
            .metrics = {{"sft_loss", share * sft},
                        {"ipo_loss", share * contrast},
                        {"tied_groups", static_cast<double>(batch.prompts()) - pairs}}};
  }
};
}  // namespace vbon::objective

// vbon/bon/log_prob_array.hpp
//
// The best-of-N law for arrays of responses: the scalar log_prob with vector registers in place of
// doubles, to the same accuracy, a few nanoseconds a response at any N. Every lane takes the same path
// (token-like, tied and sequence-like masses come mixed), so there is nothing to mispredict.
#pragma once
#include <array>
#include <span>

#include "vbon/bon/log_prob.hpp"
#include "vbon/core/vector_math.hpp"

namespace vbon::bon {
/// Names the plain loop over the scalar function where an instruction set is expected.
struct ScalarArch {};

namespace detail {
/// What one call holds fixed.
template <class B>
struct LawConstants {
  explicit LawConstants(double draws) : n(draws), n_minus_1(draws - 1), log_n(std::log(draws)), cut(log_negligible - std::log(draws)) {}
  B n, n_minus_1, log_n;
  B cut;  // below this log(tau / F) the first-order value is exact
};

/// The law for the next K registers of responses. True when an argument may break a rule: then the scalar
/// function has to look at these responses one by one.
template <bool top_given, std::size_t K, class B>
[[gnu::always_inline]] inline bool log_prob_pack(const double* log_ref, const double* log_cdf, const double* log_tie,
                                                 const double* log_cdf_le, const LawConstants<B>& law, double* out) {
  using vector_math::each;
  const B zero(0.0), slack(rounding_slack);
  const auto load = [](const double* values) { return each<K>([&](auto i) { return B::load_unaligned(values + i * B::size); }); };
  const auto p = load(log_ref), a = load(log_cdf), t = load(log_tie);
  // Stricter than the scalar checks, so that nothing needs a clamp here; false for NaN.
  auto fine = each<K>([&](auto i) { return (p[i] <= t[i]) && (t[i] <= zero) && (a[i] <= zero); });
  const auto gap = each<K>([&](auto i) { return t[i] - a[i]; });
  const auto high = each<K>([&](auto i) { return xsimd::max(a[i], t[i]); });
  const auto first_order = each<K>([&](auto i) { return xsimd::fma(law.n_minus_1, a[i], law.log_n + p[i]); });
  const auto negligible = each<K>([&](auto i) { return gap[i] < law.cut; });
  auto top = high;
  if constexpr (top_given) {
    top = load(log_cdf_le);
    fine = each<K>([&](auto i) { return fine[i] && (top[i] <= zero) && (top[i] >= high[i]) && (top[i] <= high[i] + B(0.693)); });
  }
  const auto all_of = [](const auto& masks) {
    auto both = masks[0];
    for (std::size_t i = 1; i < K; ++i) both = both && masks[i];
    return xsimd::all(both);
  };
  const auto store = [&](const auto& values) { each<K>([&](auto i) { return values[i].store_unaligned(out + i * B::size), 0; }); };
  if (all_of(negligible)) {  // nothing but sequences
    store(first_order);
    return !all_of(fine);
  }
  // Below -75 the first-order value is selected at any N <= 2^53: stop there, before anything underflows. In this order the
  // NaN of F = tau = 0 passes through.
  const auto rest = vector_math::log1p_unit(
      vector_math::exp_nonpositive(each<K>([&](auto i) { return xsimd::max(B(-75.0), -xsimd::abs(gap[i])); })));
  const auto draws = each<K>([&](auto i) { return law.n * (xsimd::max(gap[i], zero) + rest[i]); });
  const auto hit = vector_math::log_positive(vector_math::one_minus_exp_neg(draws));
  const auto derived = each<K>([&](auto i) { return high[i] + rest[i]; });
  fine = each<K>([&](auto i) { return fine[i] && (derived[i] <= slack); });  // false for F = tau = 0 too
  if constexpr (!top_given) top = each<K>([&](auto i) { return xsimd::min(derived[i], zero); });
  const auto exact = each<K>([&](auto i) { return (p[i] - t[i]) + xsimd::fma(law.n, top[i], hit[i]); });
  store(each<K>([&](auto i) { return xsimd::select(negligible[i], first_order[i], exact[i]); }));
  return !all_of(fine);
}

// In a file with much other code g++ would leave the statements of the packs as calls, at half the speed. A sanitizer's
// checks of all that is inlined would take minutes to compile.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VBON_FLATTEN
#else
#define VBON_FLATTEN [[gnu::flatten]]
#endif
template <class Arch, bool top_given>
VBON_FLATTEN void log_prob_array(const double* log_ref, const double* log_cdf, const double* log_tie,
                                 const double* log_cdf_le, double n, double* out, std::size_t size) {
  const auto one_by_one = [&](std::size_t begin, std::size_t end) __attribute__((noinline)) {
    for (std::size_t i = begin; i < end; ++i) try {
        if constexpr (top_given)
          out[i] = bon::log_prob(log_ref[i], log_cdf[i], log_tie[i], log_cdf_le[i], n);
        else
          out[i] = bon::log_prob(log_ref[i], log_cdf[i], log_tie[i], n);
      } catch (const DomainError& error) {
        throw DomainError(message(error.what(), " (response ", i, ")"), ErrorCode{error.code()});
      }
  };
  if constexpr (std::is_same_v<Arch, ScalarArch>) {
    one_by_one(0, size);
  } else {
    using B = xsimd::batch<double, Arch>;
    constexpr std::size_t K = 4, step = K * B::size;
    const LawConstants<B> law(n);
    std::size_t i = 0;
    for (; i + step <= size; i += step)
      if (log_prob_pack<top_given, K>(log_ref + i, log_cdf + i, log_tie + i, top_given ? log_cdf_le + i : nullptr, law, out + i))
          [[unlikely]]
        one_by_one(i, i + step);
    if (i == size) return;
    // The last few go through the same pack, padded with certain events, so that position changes no bit.
    std::array<double, step> p{}, a{}, t{}, b{}, value{};
    a.fill(-std::numeric_limits<double>::infinity());
    const std::size_t rest = size - i;
    std::copy_n(log_ref + i, rest, p.begin());
    std::copy_n(log_cdf + i, rest, a.begin());
    std::copy_n(log_tie + i, rest, t.begin());
    if (top_given) std::copy_n(log_cdf_le + i, rest, b.begin());
    const bool suspect = log_prob_pack<top_given, K>(p.data(), a.data(), t.data(), b.data(), law, value.data());
    std::copy_n(value.begin(), rest, out + i);
    if (suspect) [[unlikely]] one_by_one(i, size);
  }
}
#undef VBON_FLATTEN

template <class Arch, bool top_given>
void checked_log_prob_array(std::span<const double> log_ref, std::span<const double> log_cdf, std::span<const double> log_tie,
                            std::span<const double> log_cdf_le, double n, std::span<double> out) {
  require_n(n, "bon::log_prob");
  const std::size_t size = out.size();
  require<ShapeError>(log_ref.size() == size && log_cdf.size() == size && log_tie.size() == size &&
                          (!top_given || log_cdf_le.size() == size),
                      "bon::log_prob: arrays of ", size, " values expected, got ", log_ref.size(), ", ", log_cdf.size(), ", ",
                      log_tie.size());
  const auto run = n == 1 ? log_prob_array<ScalarArch, top_given> : log_prob_array<Arch, top_given>;
  run(log_ref.data(), log_cdf.data(), log_tie.data(), log_cdf_le.data(), n, out.data(), size);
}
}  // namespace detail

/// log pi_bon of each response, as the scalar log_prob; every array [R].
/// @tparam Arch  an xsimd architecture, or ScalarArch
/// @throws ShapeError; DomainError as the scalar log_prob, naming the response (`out` is then unspecified)
template <class Arch = xsimd::default_arch>
void log_prob(std::span<const double> log_ref, std::span<const double> log_cdf, std::span<const double> log_tie, double n,
              std::span<double> out) {
  detail::checked_log_prob_array<Arch, false>(log_ref, log_cdf, log_tie, {}, n, out);
}
/// The same with log_cdf_le = log(F + tau) known.
template <class Arch = xsimd::default_arch>
void log_prob(std::span<const double> log_ref, std::span<const double> log_cdf, std::span<const double> log_tie,
              std::span<const double> log_cdf_le, double n, std::span<double> out) {
  detail::checked_log_prob_array<Arch, true>(log_ref, log_cdf, log_tie, log_cdf_le, n, out);
}
}  // namespace vbon::bon

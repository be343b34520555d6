// log pi_bon of an array of responses: the published O(N) sum, the closed form one by one, and the closed
// form in vector registers, on each kind of response alone and shuffled; and the rank lookup before it.
// Rivals share one signature and are found equal before any is timed. Counter: items = responses.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "vbon/bon/estimator.hpp"
#include "vbon/bon/log_prob_array.hpp"
#include "vbon/core/random.hpp"

namespace {
using namespace vbon;

enum Kind { token, tie, sequence, mix };  // log tau in [-12, 0] and tau = ref; ref below tau; log tau about -100
constexpr const char* kind_name[] = {"token", "tie", "sequence", "mix"};

struct Responses {
  std::vector<double> log_ref, log_cdf, log_tie;
};
Responses responses(Kind kind, std::size_t count = 4096) {
  const RngKey key{2024, static_cast<std::uint64_t>(kind)};
  Responses all;
  for (std::uint64_t i = 0; i < count; ++i) {
    const double u = 1 - key.fold(1).uniform(i), v = 1 - key.fold(2).uniform(i), pick = key.fold(3).uniform(i);
    const Kind own = kind != mix ? kind : pick < 0.5 ? token : pick < 0.75 ? tie : sequence;
    const double log_tie = own == sequence ? -90 - 20 * u : -12 * u;
    all.log_tie.push_back(log_tie);
    all.log_cdf.push_back(log1mexp(log_tie) + std::log(v));  // F uniform in [0, 1 - tau]
    all.log_ref.push_back(own == tie ? log_tie - 20 * v : log_tie);
  }
  return all;
}

using Rival = void (*)(const Responses&, double n, std::vector<double>& out);

/// log sum_i C(N, i) F^(N-i) tau^i, as the published code adds it up.
void binomial_sum(const Responses& all, double n, std::vector<double>& out) {
  const int draws = static_cast<int>(n);
  std::vector<double> log_choose(static_cast<std::size_t>(draws) + 1, 0.0), term(static_cast<std::size_t>(draws) + 1);
  for (std::size_t i = 1; i < log_choose.size(); ++i)
    log_choose[i] = log_choose[i - 1] + std::log((n - static_cast<double>(i) + 1) / static_cast<double>(i));
  for (std::size_t r = 0; r < out.size(); ++r) {
    for (std::size_t i = 1; i < term.size(); ++i)
      term[i] = log_choose[i] + (n - static_cast<double>(i)) * all.log_cdf[r] + static_cast<double>(i) * all.log_tie[r];
    out[r] = all.log_ref[r] - all.log_tie[r] + log_sum_exp(std::span(term).subspan(1));
  }
}
void scalar(const Responses& all, double n, std::vector<double>& out) {
  bon::log_prob<bon::ScalarArch>(all.log_ref, all.log_cdf, all.log_tie, n, out);
}
void vector_registers(const Responses& all, double n, std::vector<double>& out) {
  bon::log_prob(all.log_ref, all.log_cdf, all.log_tie, n, out);
}

void time_rival(benchmark::State& state, Rival rival) {
  const Responses all = responses(static_cast<Kind>(state.range(0)));
  const double n = static_cast<double>(state.range(1));
  std::vector<double> out(all.log_ref.size()), want(out.size());
  scalar(all, n, want);
  rival(all, n, out);
  for (std::size_t i = 0; i < out.size(); ++i)
    if (!(std::abs(out[i] - want[i]) <= 1e-11 * (1 + n * std::abs(all.log_cdf[i]) + std::abs(want[i])))) {
      state.SkipWithError("the rivals disagree");
      return;
    }
  for (auto _ : state) {
    rival(all, n, out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.SetLabel(kind_name[state.range(0)]);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(out.size()));
}
void every_kind(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"kind", "N"});
  for (const int n : {4, 16, 64, 256, 1024})
    for (const Kind kind : {token, tie, sequence, mix}) bench->Args({kind, n});
}
BENCHMARK_CAPTURE(time_rival, vector_registers, vector_registers)->Apply(every_kind);
BENCHMARK_CAPTURE(time_rival, scalar, scalar)->Apply(every_kind);
BENCHMARK_CAPTURE(time_rival, binomial_sum, binomial_sum)
    ->ArgNames({"kind", "N"})
    ->ArgsProduct({{token, mix}, {4, 16, 64, 256, 1024}});

/// Responses that another program has too: lines "log_ref log_cdf" of the file that VBON_BENCHMARK_RESPONSES names, with
/// tau = ref. What comes of them goes to FILE.log_bon.
void given_responses(benchmark::State& state) {
  const char* file = std::getenv("VBON_BENCHMARK_RESPONSES");
  if (file == nullptr) return state.SkipWithError("VBON_BENCHMARK_RESPONSES names no file of responses");
  Responses all;
  std::ifstream in(file);
  for (double log_ref, log_cdf; in >> log_ref >> log_cdf;) all.log_ref.push_back(log_ref), all.log_cdf.push_back(log_cdf);
  all.log_tie = all.log_ref;
  std::vector<double> out(all.log_ref.size());
  for (auto _ : state) {
    vector_registers(all, static_cast<double>(state.range(0)), out);
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  std::ofstream written(std::string(file) + ".log_bon");
  written.precision(17);
  for (const double value : out) written << value << '\n';
}
BENCHMARK(given_responses)->ArgName("N")->Arg(64)->Arg(1024);

/// K, E and log F, log F<=, log tau of one reward in a cache of M.
void cdf_lookup(benchmark::State& state) {
  const Index samples = state.range(0);
  std::vector<double> rewards, queries;
  for (Index i = 0; i < samples; ++i) rewards.push_back(RngKey{1, 1}.normal(static_cast<std::uint64_t>(i)));
  for (std::uint64_t i = 0; i < 4096; ++i) queries.push_back(RngKey{1, 2}.normal(i));
  for (std::size_t i = 0; i < queries.size(); i += 4) queries[i] = rewards[i % rewards.size()];  // some ties
  const bon::EmpiricalCdf cdf(rewards);
  const bon::LogCdfTable<> table(samples);
  for (auto _ : state)
    for (const double query : queries) benchmark::DoNotOptimize(table(cdf.count(query)));
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(queries.size()));
}
BENCHMARK(cdf_lookup)->ArgName("M")->Arg(32)->Arg(301)->Arg(4096);
}  // namespace

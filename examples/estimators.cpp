// How well can log F be known from M reference rewards? Draws many caches, asks every estimator, and prints bias and
// spread: the reason why `harmonic` is the default, and what a larger cache buys.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

#include "vbon/bon.hpp"
#include "vbon/core/random.hpp"

using namespace vbon;

int main() {
  constexpr int caches = 4000;
  for (const Index samples : {16, 64}) {
    std::printf("\nM = %td reference rewards, %d caches\n%-28s %10s %18s %18s\n", samples, caches, "", "F = 0.1", "F = 0.5",
                "F = 0.9");
    for_each_entry<bon::Estimators>([&](const auto& estimator) {
      std::printf("%-22.*s bias / sd", static_cast<int>(estimator.name.size()), estimator.name.data());
      for (const double cdf : {0.1, 0.5, 0.9}) {
        double sum = 0, squares = 0;
        for (int c = 0; c < caches; ++c) {
          std::vector<double> rewards;  // uniform, so that F(r) = r
          for (Index i = 0; i < samples; ++i)
            rewards.push_back(RngKey{static_cast<std::uint64_t>(c), 1}.uniform(static_cast<std::uint64_t>(i)));
          std::sort(rewards.begin(), rewards.end());
          const double error = estimator.log_cdf(rewards, cdf) - std::log(cdf);
          sum += error / caches;
          squares += error * error / caches;
        }
        std::printf("  %+.4f / %.4f", sum, std::sqrt(squares - sum * sum));
      }
      std::printf("\n");
    });
  }
}

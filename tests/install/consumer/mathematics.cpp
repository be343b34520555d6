// The mathematics alone: with distinct rewards, the best of n over four equally likely responses keeps the top
// one with probability 1 - (3/4)^n.
#include <vbon/bon/log_prob.hpp>

#include <cmath>

int main() {
  const double n = 4;
  const double log_prob = vbon::bon::log_prob(std::log(0.25), std::log(0.75), std::log(0.25), n);
  return std::abs(std::exp(log_prob) - (1 - std::pow(0.75, n))) < 1e-12 ? 0 : 1;
}

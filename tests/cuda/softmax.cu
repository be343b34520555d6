// The Cuda overloads of softmax against those of the Cpu, on the same logits. Built by nvcc; without a device it ends with 77.
#include <cmath>
#include <cstdio>
#include <limits>

#include "vbon/core/random.hpp"
#include "vbon/kernel/softmax.hpp"

namespace {
using namespace vbon;

/// The largest difference, infinite where one of two values is not finite and they are not the same.
double distance(const Tensor<float>& a, const Tensor<float>& b) {
  double most = 0;
  for (Index i = 0; i < a.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    most = std::isfinite(difference) ? std::max(most, difference) : std::numeric_limits<double>::infinity();
  }
  return most;
}

bool agrees(Index rows, Index cols, float scale) {
  Tensor<float> logit(rows, cols);
  const RngKey key{7, static_cast<std::uint64_t>(cols)};
  for (Index i = 0; i < logit.size(); ++i) logit[i] = static_cast<float>(4 * key.normal(static_cast<std::uint64_t>(i)));
  if (cols > 2) logit[1] = -std::numeric_limits<float>::infinity();
  for (Index i = 0; rows > 3 && i < cols; ++i) logit(3, i) = -std::numeric_limits<float>::infinity();
  const Tensor<float, Cuda> there = to_device(logit);

  Tensor<float> expected(rows, cols);
  Tensor<float, Cuda> got(rows, cols);
  kernel::log_softmax(Cpu{}, logit, expected, scale);
  kernel::log_softmax(Cuda{}, there, got, scale);
  const double logs = distance(expected, to_host(got));
  kernel::softmax(Cpu{}, logit, expected, scale);
  kernel::softmax(Cuda{}, there, got, scale);
  const double probabilities = distance(expected, to_host(got));
  std::printf("[%td, %td], scale %g: log-probs differ by %.2g, probabilities by %.2g\n", rows, cols,
              static_cast<double>(scale), logs, probabilities);
  return logs < 1e-5 && probabilities < 3e-7;
}
}  // namespace

int main() {
  if (cuda::devices() == 0) {
    std::puts("skipped: no CUDA device");
    return 77;
  }
  bool good = true;
  for (const Index cols : {Index{1}, Index{31}, Index{513}, Index{49152}})
    for (const float scale : {1.0f, 0.5f, 1.3f}) good = agrees(5, cols, scale) && good;
  try {
    Tensor<float, Cuda> a(2, 3), b(3, 2);
    kernel::softmax(Cuda{}, a, b);
    good = false;
  } catch (const ShapeError& error) {
    std::puts(error.what());
  }
  return good ? 0 : 1;
}

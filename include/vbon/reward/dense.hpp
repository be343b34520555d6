// vbon/reward/dense.hpp
//
// The little linear algebra that fitting a head needs, in plain loops over doubles: cheap to compile, sums
// in a fixed order.
#pragma once
#include <cmath>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"

namespace vbon::reward {
using Vector = std::vector<double>;

/// sum_i a[i] b[i] in eight interleaved sums, so that the additions need not wait for each other.
template <class A, class B>
double dot(const A* a, const B* b, Index n) {
  double part[8] = {};
  Index i = 0;
  for (; i + 8 <= n; i += 8)
    for (Index k = 0; k < 8; ++k) part[k] += static_cast<double>(a[i + k]) * static_cast<double>(b[i + k]);
  for (; i < n; ++i) part[i % 8] += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
}
inline double dot(const Vector& a, const Vector& b) { return dot(a.data(), b.data(), static_cast<Index>(a.size())); }
inline double norm(const Vector& a) { return std::sqrt(dot(a, a)); }

/// y += factor x
template <class X>
void add_scaled(double factor, const X* x, double* y, Index n) {
  for (Index i = 0; i < n; ++i) y[i] += factor * static_cast<double>(x[i]);
}
inline void add_scaled(double factor, const Vector& x, Vector& y) {
  add_scaled(factor, x.data(), y.data(), static_cast<Index>(x.size()));
}

/// A = L L^T of a symmetric positive definite matrix.
class Cholesky {
 public:
  /// @param matrix  [n, n], row-major; only the lower triangle is read
  /// @throws DomainError when it is not positive definite
  template <class = void>
  Cholesky(Vector matrix, Index n) : lower_(std::move(matrix)), n_(n) {
    require<ShapeError>(static_cast<Index>(lower_.size()) == n * n, "Cholesky: ", n * n, " values expected, got ",
                        lower_.size());
    for (Index i = 0; i < n; ++i) {
      for (Index j = 0; j < i; ++j) row(i)[j] = (row(i)[j] - dot(row(i), row(j), j)) / row(j)[j];
      const double pivot = row(i)[i] - dot(row(i), row(i), i);
      require<DomainError>(pivot > 0, "Cholesky: a positive definite matrix expected, pivot ", i, " is ", pivot);
      row(i)[i] = std::sqrt(pivot);
    }
  }
  /// Replaces x [n] by A^-1 x.
  void solve(double* x) const {
    for (Index i = 0; i < n_; ++i) x[i] = (x[i] - dot(row(i), x, i)) / row(i)[i];
    for (Index i = n_; i-- > 0;) {
      x[i] /= row(i)[i];
      add_scaled(-x[i], row(i), x, i);
    }
  }

 private:
  double* row(Index i) { return lower_.data() + i * n_; }
  const double* row(Index i) const { return lower_.data() + i * n_; }

  Vector lower_;
  Index n_;
};
}  // namespace vbon::reward

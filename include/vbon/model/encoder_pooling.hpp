// vbon/model/encoder_pooling.hpp
//
// From token states to one vector for each sequence, as sentence-transformers describes it in a model's
// 1_Pooling/config.json and modules.json: the mean, the maximum or the first token, then perhaps unit
// length. Source: Reimers and Gurevych, arXiv 1908.10084.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <string_view>

#include "vbon/core/error.hpp"
#include "vbon/core/tensor.hpp"

namespace vbon::model {
enum class PoolingMode { mean, max, first };

inline std::string_view name_of(PoolingMode mode) {
  return mode == PoolingMode::mean ? "mean" : mode == PoolingMode::max ? "max" : "first";
}

struct Pooling {
  PoolingMode mode = PoolingMode::mean;
  bool normalize = true;  // to Euclidean length 1
};

inline constexpr double smallest_norm = 1e-12;  // a shorter vector is divided by this instead of its length

/// One vector per sequence.
///   hidden [T, C], offset [B+1], out [B, C]
template <class = void>
void pool(View<const float> hidden, std::span<const Index> offset, PoolingMode mode, View<float> out) {
  for (Index i = 0; i < out.rows(); ++i) {
    const Index begin = offset[static_cast<std::size_t>(i)], length = offset[static_cast<std::size_t>(i) + 1] - begin;
    auto row = out.row(i).array();
    row = hidden.row(begin).array();
    if (mode == PoolingMode::first) continue;
    for (Index t = begin + 1; t < begin + length; ++t) {
      if (mode == PoolingMode::mean)
        row += hidden.row(t).array();
      else
        for (Index j = 0; j < out.cols(); ++j) out(i, j) = std::max(out(i, j), hidden(t, j));
    }
    if (mode == PoolingMode::mean) row /= static_cast<float>(length);
  }
}

/// Scales each row of x to length 1 in place; norm [B] gets the lengths before, where wanted.
template <class = void>
void normalize_rows(View<float> x, View<float> norm = {}) {
  for (Index i = 0; i < x.rows(); ++i) {
    double squares = 0;
    for (const float value : x.row(i)) squares += static_cast<double>(value) * static_cast<double>(value);
    const double length = std::max(std::sqrt(squares), smallest_norm);
    if (!norm.empty()) norm[i] = static_cast<float>(length);
    x.row(i).array() *= static_cast<float>(1 / length);
  }
}

/// Gradient of normalize_rows: dx = (dy - y (y . dy)) / norm, in place of dy.   y, dy [B, C]
template <class = void>
void normalize_rows_backward(View<const float> y, View<const float> norm, View<float> dy) {
  for (Index i = 0; i < y.rows(); ++i) {
    double dot = 0;
    for (Index j = 0; j < y.cols(); ++j) dot += static_cast<double>(y(i, j)) * static_cast<double>(dy(i, j));
    for (Index j = 0; j < y.cols(); ++j) dy(i, j) = (dy(i, j) - y(i, j) * static_cast<float>(dot)) / norm[i];
  }
}

/// Gradient of pool for the mean and the first token: dhidden [T, C] is overwritten.
/// @throws ConfigError for the maximum, which no one trains through
template <class = void>
void pool_backward(View<const float> dout, std::span<const Index> offset, PoolingMode mode, View<float> dhidden) {
  require<ConfigError>(mode != PoolingMode::max, "pool_backward: pooling 'mean' or 'first' expected, got 'max'");
  dhidden.array() = 0;
  for (Index i = 0; i < dout.rows(); ++i) {
    const Index begin = offset[static_cast<std::size_t>(i)], length = offset[static_cast<std::size_t>(i) + 1] - begin;
    if (mode == PoolingMode::first) {
      dhidden.row(begin).array() = dout.row(i).array();
      continue;
    }
    for (Index t = begin; t < begin + length; ++t) dhidden.row(t).array() = dout.row(i).array() / static_cast<float>(length);
  }
}
}  // namespace vbon::model

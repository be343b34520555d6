// Checks against recorded checkpoints that every kind of model shares: tensors by name, gradients of all
// parameters, steps of AdamW. Parameters are compared under the names and in the layout of the checkpoint.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "support/conformance.hpp"
#include "vbon/io/safetensors.hpp"
#include "vbon/optim/adamw.hpp"
#include "vbon/optim/clip.hpp"

namespace vbon::test {
/// A safetensors file of expectations.
class Tensors {
 public:
  explicit Tensors(const std::filesystem::path& path) : file_(io::SafetensorsFile::open(path)) {}
  bool has(const std::string& name) const { return file_.contains(name); }
  std::vector<std::string> names() const { return file_.names(); }
  const std::vector<Index>& shape(const std::string& name) const { return file_.info(name).shape; }
  std::vector<float> floats(const std::string& name) const {
    std::vector<float> out(static_cast<std::size_t>(file_.info(name).size));
    file_.read_f32(name, View<float>(out.data(), static_cast<Index>(out.size())));
    return out;
  }
  std::vector<std::int64_t> integers(const std::string& name) const {
    std::vector<std::int64_t> out(static_cast<std::size_t>(file_.info(name).size));
    file_.read_i64(name, out);
    return out;
  }

 private:
  io::SafetensorsFile file_;
};

/// One named tensor of ours, flat, in the layout of the checkpoint.
struct NamedValues {
  std::string name;
  std::vector<float> values;
};

/// The largest difference; infinite where sizes differ or a value is NaN.
inline double largest_difference(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) return INFINITY;
  double largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double off = std::abs(static_cast<double>(got[i]) - static_cast<double>(want[i]));
    largest = std::isnan(off) ? INFINITY : std::max(largest, off);
  }
  return largest;
}
inline double euclidean_norm(const std::vector<float>& values) {
  double squares = 0;
  for (const float v : values) squares += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(squares);
}

/// 1e-3 relative in the L2 norm; 1e-5 absolute where the gradient is zero in exact arithmetic or tiny.
inline void check_gradients(Report& report, const std::vector<NamedValues>& got, const Tensors& want,
                            const std::set<std::string>& zero) {
  std::size_t covered = 0;
  for (const NamedValues& g : got) {
    if (!want.has(g.name)) {
      report.check(euclidean_norm(g.values) == 0, g.name, ": a gradient where none was recorded");
      continue;
    }
    ++covered;
    const auto expected = want.floats(g.name);
    if (!report.check(g.values.size() == expected.size(), g.name, ": ", g.values.size(), " gradients, expected ",
                      expected.size()))
      continue;
    const double norm = euclidean_norm(expected);
    if (zero.contains(g.name) || norm < 1e-5) {
      const double off = largest_difference(g.values, expected);
      report.check(off <= 1e-5, "gradient of ", g.name, " (zero in exact arithmetic) is off by ", off);
    } else {
      std::vector<float> difference(expected.size());
      for (std::size_t i = 0; i < difference.size(); ++i) difference[i] = g.values[i] - expected[i];
      const double off = euclidean_norm(difference) / norm;
      report.check(off <= 1e-3, "gradient of ", g.name, " is off by ", off, " of its norm ", norm);
    }
  }
  report.check(covered == want.names().size(), covered, " of ", want.names().size(), " recorded gradients have a parameter");
}

inline optim::AdamW recorded_adamw(const Json& train) {
  return {.rate = train.at("lr").get<double>(),
          .beta1 = train.at("betas").at(0).get<double>(),
          .beta2 = train.at("betas").at(1).get<double>(),
          .epsilon = train.at("eps").get<double>(),
          .weight_decay = train.at("weight_decay").get<double>()};
}

/// One step from the recorded gradients: 1e-6 in every element of every recorded weight.
inline void check_adamw_from_stored(Report& report, const Json& train, const Tensors& model, const Tensors& gradients,
                                    const Tensors& after) {
  std::vector<float> parameter, gradient;
  for (const std::string& name : gradients.names()) {
    const auto p = model.floats(name), g = gradients.floats(name);
    parameter.insert(parameter.end(), p.begin(), p.end());
    gradient.insert(gradient.end(), g.begin(), g.end());
  }
  const auto size = static_cast<Index>(parameter.size());
  const View<float> all(gradient.data(), size);
  auto adamw = recorded_adamw(train);
  adamw.step(View<float>(parameter.data(), size), all,
             optim::clip_factor(optim::global_norm(all), train.at("grad_clip").get<double>()));
  std::size_t at = 0;
  for (const std::string& name : gradients.names()) {
    const auto want = after.floats(name);
    const std::vector<float> got(parameter.begin() + static_cast<std::ptrdiff_t>(at),
                                 parameter.begin() + static_cast<std::ptrdiff_t>(at + want.size()));
    at += want.size();
    const double off = largest_difference(got, want);
    report.check(off <= 1e-6, "AdamW from the stored gradient: ", name, " is off by ", off);
  }
  for (const std::string& name : after.names())
    if (!gradients.has(name)) report.check(after.floats(name) == model.floats(name), name, ": stepped without a gradient");
}

/// Weights after one step from our own gradients: 2e-5 where the clipped gradient is above 1e-4; elsewhere a
/// gradient may be pure noise, which Adam makes a full step of either sign: at most 2.1 times the rate.
inline void check_adamw_from_own(Report& report, const Json& train, const std::vector<NamedValues>& got,
                                 const Tensors& gradients, const Tensors& after, double clip) {
  for (const NamedValues& p : got) {
    if (!gradients.has(p.name)) continue;
    const auto gradient = gradients.floats(p.name), want = after.floats(p.name);
    double off_large = 0, off_small = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      const double off = std::abs(static_cast<double>(p.values.at(i)) - static_cast<double>(want[i]));
      double& worst = std::abs(static_cast<double>(gradient[i])) * clip > 1e-4 ? off_large : off_small;
      worst = std::isnan(off) ? INFINITY : std::max(worst, off);
    }
    report.check(off_large <= 2e-5, "AdamW from our gradient: ", p.name, " is off by ", off_large);
    report.check(off_small <= 2.1 * train.at("lr").get<double>(), "AdamW from our gradient: ", p.name,
                 " (tiny gradients) is off by ", off_small);
  }
}
}  // namespace vbon::test

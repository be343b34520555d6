// The exact half of `vbon compare`: methods on a policy that can be enumerated.
#pragma once
#include <string>
#include <vector>

#include "program.hpp"

namespace vbon::program {
struct TabularOptions {
  Common common;
  std::vector<std::string> methods = {};  // empty: one setting of every objective whose optimum is known
  double n = 4;                           // N of best-of-N, real; methods that draw N at once need it whole
  Index outcomes = 8;                     // K
  std::string out = {};                   // folder for table and picture; empty: they are only printed
  bool overwrite = false;
};
/// Trains every method with exact gradients and prints how far each ends from its optimum.
/// @throws ConfigError for a method without a known optimum, listing those that have one; RunError when one ends further
///         than 0.001 nats from it
int compare_tabular(const TabularOptions& options);
}  // namespace vbon::program

// vbon/reward/registry.hpp
//
// The rewards a program can name. Adding one: its include and its entry here; `open` makes it from the one
// argument of a command line (a file, a folder, a command). A reward that cannot do without says in `argument` what
// it expects.
#pragma once
#include <concepts>
#include <string>
#include <string_view>
#include <tuple>

#include "vbon/core/registry.hpp"
#include "vbon/reward/any.hpp"
#include "vbon/reward/classifier.hpp"
#include "vbon/reward/encoder_head.hpp"
#include "vbon/reward/length.hpp"
#include "vbon/reward/lexicon.hpp"
#include "vbon/reward/process.hpp"
#include "vbon/reward/table.hpp"

namespace vbon::reward {
using Rewards = std::tuple<Length, Lexicon, Table, EncoderHead, Classifier, Process>;

/// What the argument of a reward does not say.
struct OpenOptions {
  ProcessOptions process;                                    // for the reward of that name
  kernel::Precision precision = kernel::Precision::float32;  // of the products of networks
};

/// Whether a reward of this name computes in the precision that open() is given.
/// @throws ConfigError listing the known names
template <class = void>
bool is_network(std::string_view name) {
  bool network = false;
  with_name<Rewards>("reward", name, [&]<class R>(const R&) {
    network = requires(std::string argument, kernel::Precision precision) { R::open(argument, precision); };
  });
  return network;
}

/// open("lexicon", "words.tsv"), open("length", "24"), open("process", "python3 score.py").
/// @throws ConfigError listing the known names or naming the argument that is missing, and what opening the reward throws
template <class = void>
Any open(std::string_view name, const std::string& argument, const OpenOptions& options = {}) {
  Any reward;
  with_name<Rewards>("reward", name, [&]<class R>(const R&) {
    if constexpr (requires { R::argument; })
      require<ConfigError>(argument.find_first_not_of(" \t\r\n") != argument.npos, "reward ", R::name,
                           " needs an argument: ", R::name, ":", R::argument);
    if constexpr (std::same_as<R, Process>)
      reward = R::open(argument, options.process);
    else if constexpr (requires { R::open(argument, options.precision); })
      reward = R::open(argument, options.precision);
    else
      reward = R::open(argument);
  });
  return reward;
}
}  // namespace vbon::reward

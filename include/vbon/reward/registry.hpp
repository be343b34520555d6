// vbon/reward/registry.hpp
//
// The rewards a program can name. Adding one: its include and its entry here; `open` makes it from the one
// argument of a command line (a file, a folder, a command).
#pragma once
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

/// open("lexicon", "words.tsv"), open("length", "24"), open("process", "python3 score.py").
/// @throws ConfigError listing the known names, and what opening the reward throws
inline Any open(std::string_view name, const std::string& argument) {
  Any reward;
  with_name<Rewards>("reward", name, [&]<class R>(const R&) { reward = R::open(argument); });
  return reward;
}
}  // namespace vbon::reward

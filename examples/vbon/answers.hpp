// --answer-pattern: when two responses give the same answer.
#pragma once
#include <string>

#include "vbon/data/answer.hpp"
#include "vbon/text/answer_pattern.hpp"

namespace vbon::program {
inline constexpr const char* answer_pattern_help =
    "for a majority vote: responses agree when this regular expression matches the same in them last, as "
    "'answer is \\K-?[0-9]+'; empty: when they are equal";

/// @throws FormatError for a pattern that is none
inline AnswerOf answer_of(const std::string& pattern) {
  return pattern.empty() ? AnswerOf() : text::answer_by_pattern(pattern, "--answer-pattern");
}
}  // namespace vbon::program

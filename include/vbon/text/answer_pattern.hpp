// vbon/text/answer_pattern.hpp
//
// The answer inside a response, by a regular expression: the number at its end, the letter of a choice.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "vbon/text/regex.hpp"

namespace vbon::text {
/// What the pattern matches last in a response; the whole response where it matches nothing.
/// @param pattern  PCRE2; what stands before \K must be there and is left out: "answer is \K-?[0-9]+"
/// @param where    names the pattern in messages
/// @return         an AnswerOf (data/answer.hpp)
/// @throws FormatError when the pattern does not compile
inline std::function<std::string(const std::string&)> answer_by_pattern(std::string_view pattern, std::string_view where) {
  return [regex = std::make_shared<const Regex>(pattern, where)](const std::string& text) {
    std::string answer = text;
    regex->for_each_match(text, [&](std::size_t begin, std::size_t end) { answer = text.substr(begin, end - begin); });
    return answer;
  };
}
}  // namespace vbon::text

// vbon/text/template_value.hpp
//
// Values of a chat template: JSON that keeps the order of keys, with Python's notions of truth and text. An
// undefined value is a JSON value of the discarded kind. Everything that works on values is a template over their
// type: it is compiled where a template is rendered, not wherever this is included (docs/architecture.md).
#pragma once
#include <charconv>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "vbon/core/error.hpp"

namespace vbon::text {
using TemplateValue = nlohmann::ordered_json;

namespace detail {
template <class Value>
Value undefined() {
  return Value(Value::value_t::discarded);
}

template <class Value>
bool is_true(const Value& value) {
  if (value.is_boolean()) return value.template get<bool>();
  if (value.is_number_float()) return value.template get<double>() != 0;
  if (value.is_number()) return value.template get<std::int64_t>() != 0;
  if (value.is_string()) return !value.template get_ref<const std::string&>().empty();
  return !value.is_null() && !value.is_discarded() && !value.empty();
}

/// As Python's repr, for values inside lists and dictionaries.
template <class Value>
std::string python_repr(const Value& value);
/// As Python's str.
template <class Value>
std::string python_text(const Value& value) {
  if (value.is_discarded()) return {};
  return value.is_string() ? value.template get<std::string>() : python_repr(value);
}
template <class Value>
std::string python_repr(const Value& value) {
  if (value.is_null() || value.is_discarded()) return "None";
  if (value.is_boolean()) return value.template get<bool>() ? "True" : "False";
  if (value.is_string()) {
    const auto& text = value.template get_ref<const std::string&>();
    const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
    std::string out(1, quote);
    for (const char c : text) {
      if (c == '\n')
        out += "\\n";
      else if (c == '\t')
        out += "\\t";
      else if (c == '\r')
        out += "\\r";
      else if (c == quote || c == '\\')
        out.append({'\\', c});
      else
        out += c;
    }
    return out + quote;
  }
  if (!value.is_structured()) return value.dump();
  std::string out = value.is_array() ? "[" : "{";
  for (auto item = value.begin(); item != value.end(); ++item) {
    if (item != value.begin()) out += ", ";
    if (value.is_object()) out += python_repr(Value(item.key())) + ": ";
    out += python_repr(*item);
  }
  return out + (value.is_array() ? "]" : "}");
}

/// As Python's json.dumps without ASCII escapes: ", " and ": " on one line, or indented.
template <class Value>
std::string to_json_text(const Value& value, int indent, int level = 0) {
  if (!value.is_structured()) return value.is_discarded() ? "null" : value.dump();
  const bool array = value.is_array();
  if (value.empty()) return array ? "[]" : "{}";
  const auto line = [&](int depth) {
    return indent < 0 ? std::string() : "\n" + std::string(static_cast<std::size_t>(indent * depth), ' ');
  };
  std::string out = array ? "[" : "{";
  for (auto item = value.begin(); item != value.end(); ++item) {
    if (item != value.begin()) out += indent < 0 ? ", " : ",";
    out += line(level + 1);
    if (!array) out += Value(item.key()).dump() + ": ";
    out += to_json_text(*item, indent, level + 1);
  }
  return out + line(level) + (array ? "]" : "}");
}

template <class = void>
std::string trimmed(std::string_view text, std::string_view characters = " \t\n\r\v\f", bool left = true,
                    bool right = true) {
  const auto begin = left ? text.find_first_not_of(characters) : 0;
  if (begin == text.npos) return {};
  const auto end = right ? text.find_last_not_of(characters) + 1 : text.size();
  return std::string(text.substr(begin, end > begin ? end - begin : 0));
}
}  // namespace detail
}  // namespace vbon::text

// vbon/text/template_evaluator.hpp
//
// The value of a chat template's expression. What Jinja answers with an exception is a DomainError here, with
// the line of the template.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/text/template_expression.hpp"
#include "vbon/text/template_value.hpp"

namespace vbon::text::detail {
class TemplateEvaluator {
 public:
  explicit TemplateEvaluator(TemplateScopes& scopes) : scopes_(scopes) {}

  TemplateValue operator()(const TemplateExpression& e) {
    switch (e.kind) {
      case Kind::literal:
        return e.literal;
      case Kind::name: {
        const TemplateValue* found = scopes_.find(e.text);
        return found == nullptr ? undefined() : *found;
      }
      case Kind::list: {
        TemplateValue list = TemplateValue::array();
        for (const auto& part : e.parts) list.push_back((*this)(*part));
        return list;
      }
      case Kind::dict: {
        TemplateValue dict = TemplateValue::object();
        for (std::size_t i = 0; i + 1 < e.parts.size(); i += 2)
          dict[text_of((*this)(*e.parts[i]), e)] = (*this)(*e.parts[i + 1]);
        return dict;
      }
      case Kind::unary:
        return unary(e);
      case Kind::binary:
        return binary(e);
      case Kind::condition:
        if (is_true((*this)(*e.parts[1]))) return (*this)(*e.parts[0]);
        return e.parts[2] ? (*this)(*e.parts[2]) : undefined();
      case Kind::attribute:
        return member((*this)(*e.parts[0]), e.text, e);
      case Kind::index:
        return element((*this)(*e.parts[0]), (*this)(*e.parts[1]), e);
      case Kind::slice:
        return slice(e);
      case Kind::call:
        return call(e);
      case Kind::filter:
        return filter(e);
      case Kind::test:
        return test(e) != e.negated;
    }
    return undefined();
  }

 private:
  using Kind = TemplateExpression::Kind;

  template <class... Parts>
  [[noreturn]] static void fail(const TemplateExpression& e, const Parts&... parts) {
    throw DomainError(message("chat template: line ", e.line, ": ", parts...), ErrorCode{"chat_template"});
  }
  static const std::string& text_of(const TemplateValue& value, const TemplateExpression& e) {
    if (!value.is_string())
      fail(e, "text was expected, got ", value.is_discarded() ? "an undefined value" : value.type_name());
    return value.get_ref<const std::string&>();
  }
  static std::int64_t integer_of(const TemplateValue& value, const TemplateExpression& e) {
    if (!value.is_number_integer()) fail(e, "an integer was expected, got ", python_repr(value));
    return value.get<std::int64_t>();
  }
  TemplateValue argument(const TemplateExpression& e, std::size_t i, std::string_view name = {}) {
    if (i < e.parts.size()) return (*this)(*e.parts[i]);
    for (const auto& [key, value] : e.named)
      if (key == name) return (*this)(*value);
    return undefined();
  }

  TemplateValue unary(const TemplateExpression& e) {
    const TemplateValue value = (*this)(*e.parts[0]);
    if (e.text == "not") return !is_true(value);
    if (value.is_number_float()) return -value.get<double>();
    return -integer_of(value, e);
  }
  TemplateValue binary(const TemplateExpression& e) {
    TemplateValue left = (*this)(*e.parts[0]);
    if (e.text == "and") return is_true(left) ? (*this)(*e.parts[1]) : left;
    if (e.text == "or") return is_true(left) ? left : (*this)(*e.parts[1]);
    const TemplateValue right = (*this)(*e.parts[1]);
    if (e.text == "==") return equal(left, right);
    if (e.text == "!=") return !equal(left, right);
    if (e.text == "in") return contains(right, left, e);
    if (e.text == "~") return python_text(left) + python_text(right);
    if (e.text == "+" && left.is_string() && right.is_string()) return text_of(left, e) + text_of(right, e);
    if (e.text == "+" && left.is_array() && right.is_array()) {
      for (const auto& item : right) left.push_back(item);
      return left;
    }
    if (e.text == "*" && left.is_string() && right.is_number_integer()) {
      const auto count = std::max<std::int64_t>(0, integer_of(right, e));
      if (count * static_cast<std::int64_t>(text_of(left, e).size()) > 1'000'000) fail(e, "the repeated text is too long");
      std::string out;
      for (std::int64_t i = 0; i < count; ++i) out += text_of(left, e);
      return out;
    }
    if (left.is_string() && right.is_string()) return order(e, text_of(left, e).compare(text_of(right, e)));
    if (!left.is_number() || !right.is_number())
      fail(e, "\"", e.text, "\" does not take ", left.is_discarded() ? "an undefined value" : left.type_name(), " and ",
           right.is_discarded() ? "an undefined value" : right.type_name());
    const double a = left.get<double>(), b = right.get<double>();
    if (e.text == "<" || e.text == ">" || e.text == "<=" || e.text == ">=") return order(e, a < b ? -1 : a > b ? 1 : 0);
    if ((e.text == "/" || e.text == "//" || e.text == "%") && b == 0) fail(e, "division by zero");
    if (e.text == "/") return a / b;
    double result = 0;
    if (e.text == "+")
      result = a + b;
    else if (e.text == "-")
      result = a - b;
    else if (e.text == "*")
      result = a * b;
    else if (e.text == "//")
      result = std::floor(a / b);
    else
      result = a - b * std::floor(a / b);
    if (left.is_number_float() || right.is_number_float()) return result;
    if (std::abs(result) > 9e15) fail(e, "the number ", result, " is too large");
    return static_cast<std::int64_t>(result);
  }
  static TemplateValue order(const TemplateExpression& e, int sign) {
    if (e.text == "<") return sign < 0;
    if (e.text == ">") return sign > 0;
    if (e.text == "<=") return sign <= 0;
    if (e.text == ">=") return sign >= 0;
    fail(e, "\"", e.text, "\" does not take two texts");
  }
  static bool equal(const TemplateValue& a, const TemplateValue& b) {
    return a.is_discarded() || b.is_discarded() ? a.is_discarded() && b.is_discarded() : a == b;
  }
  static bool contains(const TemplateValue& all, const TemplateValue& item, const TemplateExpression& e) {
    if (all.is_string()) return text_of(all, e).find(text_of(item, e)) != std::string::npos;
    if (all.is_object()) return item.is_string() && all.contains(text_of(item, e));
    if (all.is_array()) return std::any_of(all.begin(), all.end(), [&](const auto& one) { return equal(one, item); });
    fail(e, "\"in\" does not take ", all.is_discarded() ? "an undefined value" : all.type_name());
  }

  static TemplateValue member(const TemplateValue& of, const std::string& name, const TemplateExpression& e) {
    if (of.is_discarded()) fail(e, "an undefined value has no \"", name, "\"");
    if (!of.is_object()) return undefined();
    const auto found = of.find(name);
    return found == of.end() ? undefined() : *found;
  }
  static TemplateValue element(const TemplateValue& of, const TemplateValue& at, const TemplateExpression& e) {
    if (at.is_string()) return member(of, text_of(at, e), e);
    if (of.is_discarded()) fail(e, "an undefined value has no elements");
    const TemplateValue list = of.is_string() ? characters(text_of(of, e)) : of;
    if (!list.is_array()) return undefined();
    std::int64_t i = integer_of(at, e);
    const auto size = static_cast<std::int64_t>(list.size());
    if (i < 0) i += size;
    return i < 0 || i >= size ? undefined() : list[static_cast<std::size_t>(i)];
  }
  static TemplateValue characters(const std::string& text) {
    TemplateValue list = TemplateValue::array();
    for_each_character(text, [&](char32_t, std::string_view c) { list.push_back(std::string(c)); });
    return list;
  }
  TemplateValue slice(const TemplateExpression& e) {
    const TemplateValue of = (*this)(*e.parts[0]);
    const TemplateValue list = of.is_string() ? characters(text_of(of, e)) : of;
    if (!list.is_array()) fail(e, "a slice needs a list or text");
    const auto size = static_cast<std::int64_t>(list.size());
    const auto bound = [&](std::size_t i, std::int64_t otherwise) {
      return e.parts[i] ? integer_of((*this)(*e.parts[i]), e) : otherwise;
    };
    const std::int64_t step = bound(3, 1);
    if (step == 0) fail(e, "the step of a slice is 0");
    const auto clamp = [&](std::int64_t i) {
      return std::clamp<std::int64_t>(i < 0 ? i + size : i, step > 0 ? 0 : -1, step > 0 ? size : size - 1);
    };
    const std::int64_t begin = e.parts[1] ? clamp(bound(1, 0)) : step > 0 ? 0 : size - 1;
    const std::int64_t end = e.parts[2] ? clamp(bound(2, 0)) : step > 0 ? size : -1;
    TemplateValue out = TemplateValue::array();
    for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) out.push_back(list[static_cast<std::size_t>(i)]);
    if (!of.is_string()) return out;
    std::string text;
    for (const auto& c : out) text += c.template get_ref<const std::string&>();
    return text;
  }

  TemplateValue call(const TemplateExpression& e) {
    const TemplateExpression& callee = *e.parts[0];
    if (callee.kind == Kind::attribute) return method((*this)(*callee.parts[0]), callee.text, e);
    if (callee.kind != Kind::name) fail(e, "only functions and methods can be called");
    if (callee.text == "raise_exception")
      throw DomainError("chat template: " + python_text(argument(e, 1)), ErrorCode{"chat_template"});
    if (callee.text == "namespace" || callee.text == "dict") {
      TemplateValue space = TemplateValue::object();
      for (const auto& [key, value] : e.named) space[key] = (*this)(*value);
      return space;
    }
    if (callee.text == "range") {
      std::int64_t begin = 0, end = integer_of(argument(e, 1), e), step = 1;
      if (e.parts.size() > 2) begin = end, end = integer_of(argument(e, 2), e);
      if (e.parts.size() > 3) step = integer_of(argument(e, 3), e);
      if (step == 0) fail(e, "the step of a range is 0");
      TemplateValue list = TemplateValue::array();
      for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
        if (list.size() >= 100'000) fail(e, "the range is too long");
        list.push_back(i);
      }
      return list;
    }
    fail(e, "the function \"", callee.text, "\" is not supported; known: raise_exception, namespace, dict, range");
  }
  TemplateValue method(const TemplateValue& of, const std::string& name, const TemplateExpression& e) {
    if (of.is_string()) {
      const std::string& text = text_of(of, e);
      const auto words = [&](std::size_t i) { return text_of(argument(e, i), e); };
      if (name == "strip" || name == "lstrip" || name == "rstrip")
        return trimmed(text, e.parts.size() > 1 ? words(1) : " \t\n\r\v\f", name != "rstrip", name != "lstrip");
      if (name == "upper" || name == "lower" || name == "title" || name == "capitalize") return change_case(text, name);
      if (name == "startswith" || name == "endswith") {
        const TemplateValue wanted = argument(e, 1);
        const TemplateValue list = wanted.is_array() ? wanted : TemplateValue::array({wanted});
        return std::any_of(list.begin(), list.end(), [&](const auto& one) {
          return name == "startswith" ? text.starts_with(text_of(one, e)) : text.ends_with(text_of(one, e));
        });
      }
      if (name == "replace") return replaced(text, words(1), words(2));
      if (name == "split") return split(text, e);
      if (name == "find") {
        const auto at = text.find(words(1));
        return at == text.npos ? std::int64_t{-1}
                               : static_cast<std::int64_t>(count_characters(std::string_view(text).substr(0, at)));
      }
    } else if (of.is_object()) {
      if (name == "items" || name == "keys" || name == "values") return entries(of, name);
      if (name == "get") {
        const TemplateValue found = member(of, text_of(argument(e, 1), e), e);
        return !found.is_discarded() ? found : e.parts.size() > 2 ? argument(e, 2) : TemplateValue(nullptr);
      }
    }
    fail(e, "the method \"", name, "\" of ", of.is_discarded() ? "an undefined value" : of.type_name(), " is not supported");
  }
  static TemplateValue entries(const TemplateValue& of, std::string_view what) {
    TemplateValue list = TemplateValue::array();
    for (auto item = of.begin(); item != of.end(); ++item) {
      if (what == "keys")
        list.push_back(item.key());
      else if (what == "values")
        list.push_back(*item);
      else
        list.push_back(TemplateValue::array({item.key(), *item}));
    }
    return list;
  }
  static std::string change_case(const std::string& text, std::string_view how) {
    if (how == "lower") return to_lower(text);
    std::string out;
    bool inside = false;
    for_each_character(text, [&](char32_t c, std::string_view) {
      const bool up = how == "upper" || (how == "capitalize" ? out.empty() : !inside);
      const auto code = static_cast<utf8proc_int32_t>(c);
      io::append_utf8(out, static_cast<char32_t>(up ? utf8proc_toupper(code) : utf8proc_tolower(code)));
      inside = is_letter(c);
    });
    return out;
  }
  static std::string replaced(const std::string& text, const std::string& from, const std::string& to) {
    std::string out = text;
    if (from.empty()) return out;
    for (std::size_t at = 0; (at = out.find(from, at)) != out.npos; at += to.size()) out.replace(at, from.size(), to);
    return out;
  }
  TemplateValue split(const std::string& text, const TemplateExpression& e) {
    TemplateValue list = TemplateValue::array();
    const TemplateValue by = argument(e, 1, "sep");
    const TemplateValue most = argument(e, 2, "maxsplit");
    const std::int64_t limit = most.is_discarded() ? -1 : integer_of(most, e);
    const bool blank = by.is_discarded() || by.is_null();
    const std::string separator = blank ? "" : text_of(by, e);
    if (!blank && separator.empty()) fail(e, "split needs a separator");
    std::size_t at = 0;
    const auto more = [&] { return limit < 0 || static_cast<std::int64_t>(list.size()) < limit; };
    if (blank) {
      static constexpr std::string_view spaces = " \t\n\r\v\f";
      while ((at = text.find_first_not_of(spaces, at)) != text.npos) {
        const std::size_t end = more() ? text.find_first_of(spaces, at) : text.npos;
        list.push_back(text.substr(at, end == text.npos ? end : end - at));
        if (end == text.npos) break;
        at = end;
      }
      return list;
    }
    for (std::size_t found; more() && (found = text.find(separator, at)) != text.npos; at = found + separator.size())
      list.push_back(text.substr(at, found - at));
    list.push_back(text.substr(at));
    return list;
  }

  TemplateValue filter(const TemplateExpression& e) {
    const TemplateValue value = (*this)(*e.parts[0]);
    const std::string& name = e.text;
    if (name == "default" || name == "d") {
      const bool falsy = is_true(argument(e, 2, "boolean"));
      return value.is_discarded() || (falsy && !is_true(value)) ? argument(e, 1, "default_value") : value;
    }
    if (name == "tojson") {
      const TemplateValue indent = argument(e, 1, "indent");
      return detail::to_json_text(value, indent.is_number_integer() ? indent.get<int>() : -1);
    }
    if (name == "trim") return trimmed(python_text(value));
    if (name == "string") return python_text(value);
    if (name == "safe") return value;
    if (name == "upper" || name == "lower" || name == "title" || name == "capitalize")
      return change_case(python_text(value), name);
    if (name == "replace") return replaced(python_text(value), text_of(argument(e, 1), e), text_of(argument(e, 2), e));
    if (name == "length" || name == "count") {
      if (value.is_string()) return count_characters(text_of(value, e));
      if (!value.is_structured()) fail(e, "length needs a list or text");
      return value.size();
    }
    if (name == "int") {
      if (value.is_number_integer()) return value;
      if (value.is_number_float()) return static_cast<std::int64_t>(value.get<double>());
      const std::string text = trimmed(python_text(value));
      std::int64_t number = 0;
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
      return error == std::errc() && end == text.data() + text.size() ? number : 0;
    }
    if (name == "items" && value.is_object()) return entries(value, "items");
    if (name == "list" || name == "first" || name == "last" || name == "join" || name == "reverse")
      return list_filter(name, value, e);
    fail(e, "the filter \"", name,
         "\" is not supported; known: capitalize, count, default, first, int, items, join, last, length, list, lower, "
         "replace, reverse, safe, string, title, tojson, trim, upper");
  }
  TemplateValue list_filter(const std::string& name, const TemplateValue& value, const TemplateExpression& e) {
    TemplateValue list = value.is_string()   ? characters(text_of(value, e))
                         : value.is_object() ? entries(value, "keys")
                                             : value;
    if (!list.is_array()) fail(e, "the filter \"", name, "\" needs a list");
    if (name == "list") return list;
    if (name == "first") return list.empty() ? undefined() : list.front();
    if (name == "last") return list.empty() ? undefined() : list.back();
    if (name == "reverse") {
      std::reverse(list.begin(), list.end());
      return list;
    }
    std::string out;
    const TemplateValue between = argument(e, 1, "d");
    for (std::size_t i = 0; i < list.size(); ++i) out += (i > 0 ? python_text(between) : "") + python_text(list[i]);
    return out;
  }

  bool test(const TemplateExpression& e) {
    const TemplateValue value = (*this)(*e.parts[0]);
    const std::string& name = e.text;
    if (name == "defined") return !value.is_discarded();
    if (name == "undefined") return value.is_discarded();
    if (name == "none") return value.is_null();
    if (name == "string") return value.is_string();
    if (name == "number") return value.is_number();
    if (name == "integer") return value.is_number_integer();
    if (name == "float") return value.is_number_float();
    if (name == "boolean") return value.is_boolean();
    if (name == "true") return value == true;
    if (name == "false") return value == false;
    if (name == "mapping") return value.is_object();
    if (name == "iterable" || name == "sequence") return value.is_structured() || value.is_string();
    if (name == "even" || name == "odd") return (integer_of(value, e) % 2 == 0) == (name == "even");
    if (name == "equalto" || name == "eq") return equal(value, argument(e, 1));
    if (name == "in") return contains(argument(e, 1), value, e);
    if (name == "divisibleby") {
      const std::int64_t by = integer_of(argument(e, 1), e);
      if (by == 0) fail(e, "division by zero");
      return integer_of(value, e) % by == 0;
    }
    fail(e, "the test \"", name,
         "\" is not supported; known: boolean, defined, divisibleby, equalto, even, false, float, in, integer, iterable, "
         "mapping, none, number, odd, sequence, string, true, undefined");
  }

  TemplateScopes& scopes_;
};
}  // namespace vbon::text::detail

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
template <class Value>
class TemplateEvaluator {
 public:
  using Expression = TemplateExpression<Value>;
  using Scopes = TemplateScopes<Value>;

  explicit TemplateEvaluator(Scopes& scopes) : scopes_(scopes) {}

  Value operator()(const Expression& e) {
    switch (e.kind) {
      case Kind::literal:
        return e.literal;
      case Kind::name: {
        const Value* found = scopes_.find(e.text);
        return found == nullptr ? undefined<Value>() : *found;
      }
      case Kind::list: {
        Value list = Value::array();
        for (const auto& part : e.parts) list.push_back((*this)(*part));
        return list;
      }
      case Kind::dict: {
        Value dict = Value::object();
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
        return e.parts[2] ? (*this)(*e.parts[2]) : undefined<Value>();
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
    return undefined<Value>();
  }

 private:
  using Kind = typename Expression::Kind;

  template <class... Parts>
  [[noreturn]] static void fail(const Expression& e, const Parts&... parts) {
    throw DomainError(message("chat template: line ", e.line, ": ", parts...), ErrorCode{"chat_template"});
  }
  static const std::string& text_of(const Value& value, const Expression& e) {
    if (!value.is_string())
      fail(e, "text was expected, got ", value.is_discarded() ? "an undefined value" : value.type_name());
    return value.template get_ref<const std::string&>();
  }
  static std::int64_t integer_of(const Value& value, const Expression& e) {
    if (!value.is_number_integer()) fail(e, "an integer was expected, got ", python_repr(value));
    return value.template get<std::int64_t>();
  }
  Value argument(const Expression& e, std::size_t i, std::string_view name = {}) {
    if (i < e.parts.size()) return (*this)(*e.parts[i]);
    for (const auto& [key, value] : e.named)
      if (key == name) return (*this)(*value);
    return undefined<Value>();
  }

  Value unary(const Expression& e) {
    const Value value = (*this)(*e.parts[0]);
    if (e.text == "not") return !is_true(value);
    if (value.is_number_float()) return -value.template get<double>();
    return -integer_of(value, e);
  }
  Value binary(const Expression& e) {
    Value left = (*this)(*e.parts[0]);
    if (e.text == "and") return is_true(left) ? (*this)(*e.parts[1]) : left;
    if (e.text == "or") return is_true(left) ? left : (*this)(*e.parts[1]);
    const Value right = (*this)(*e.parts[1]);
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
    const double a = left.template get<double>(), b = right.template get<double>();
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
  static Value order(const Expression& e, int sign) {
    if (e.text == "<") return sign < 0;
    if (e.text == ">") return sign > 0;
    if (e.text == "<=") return sign <= 0;
    if (e.text == ">=") return sign >= 0;
    fail(e, "\"", e.text, "\" does not take two texts");
  }
  static bool equal(const Value& a, const Value& b) {
    return a.is_discarded() || b.is_discarded() ? a.is_discarded() && b.is_discarded() : a == b;
  }
  static bool contains(const Value& all, const Value& item, const Expression& e) {
    if (all.is_string()) return text_of(all, e).find(text_of(item, e)) != std::string::npos;
    if (all.is_object()) return item.is_string() && all.contains(text_of(item, e));
    if (all.is_array()) return std::any_of(all.begin(), all.end(), [&](const auto& one) { return equal(one, item); });
    fail(e, "\"in\" does not take ", all.is_discarded() ? "an undefined value" : all.type_name());
  }

  static Value member(const Value& of, const std::string& name, const Expression& e) {
    if (of.is_discarded()) fail(e, "an undefined value has no \"", name, "\"");
    if (!of.is_object()) return undefined<Value>();
    const auto found = of.find(name);
    return found == of.end() ? undefined<Value>() : *found;
  }
  static Value element(const Value& of, const Value& at, const Expression& e) {
    if (at.is_string()) return member(of, text_of(at, e), e);
    if (of.is_discarded()) fail(e, "an undefined value has no elements");
    const Value list = of.is_string() ? characters(text_of(of, e)) : of;
    if (!list.is_array()) return undefined<Value>();
    std::int64_t i = integer_of(at, e);
    const auto size = static_cast<std::int64_t>(list.size());
    if (i < 0) i += size;
    return i < 0 || i >= size ? undefined<Value>() : list[static_cast<std::size_t>(i)];
  }
  static Value characters(const std::string& text) {
    Value list = Value::array();
    for_each_character(text, [&](char32_t, std::string_view c) { list.push_back(std::string(c)); });
    return list;
  }
  Value slice(const Expression& e) {
    const Value of = (*this)(*e.parts[0]);
    const Value list = of.is_string() ? characters(text_of(of, e)) : of;
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
    Value out = Value::array();
    for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) out.push_back(list[static_cast<std::size_t>(i)]);
    if (!of.is_string()) return out;
    std::string text;
    for (const auto& c : out) text += c.template get_ref<const std::string&>();
    return text;
  }

  Value call(const Expression& e) {
    const Expression& callee = *e.parts[0];
    if (callee.kind == Kind::attribute) return method((*this)(*callee.parts[0]), callee.text, e);
    if (callee.kind != Kind::name) fail(e, "only functions and methods can be called");
    if (callee.text == "raise_exception")
      throw DomainError("chat template: " + python_text(argument(e, 1)), ErrorCode{"chat_template"});
    if (callee.text == "namespace" || callee.text == "dict") {
      Value space = Value::object();
      for (const auto& [key, value] : e.named) space[key] = (*this)(*value);
      return space;
    }
    if (callee.text == "range") {
      std::int64_t begin = 0, end = integer_of(argument(e, 1), e), step = 1;
      if (e.parts.size() > 2) begin = end, end = integer_of(argument(e, 2), e);
      if (e.parts.size() > 3) step = integer_of(argument(e, 3), e);
      if (step == 0) fail(e, "the step of a range is 0");
      Value list = Value::array();
      for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
        if (list.size() >= 100'000) fail(e, "the range is too long");
        list.push_back(i);
      }
      return list;
    }
    fail(e, "the function \"", callee.text, "\" is not supported; known: raise_exception, namespace, dict, range");
  }
  Value method(const Value& of, const std::string& name, const Expression& e) {
    if (of.is_string()) {
      const std::string& text = text_of(of, e);
      const auto words = [&](std::size_t i) { return text_of(argument(e, i), e); };
      if (name == "strip" || name == "lstrip" || name == "rstrip")
        return trimmed(text, e.parts.size() > 1 ? words(1) : " \t\n\r\v\f", name != "rstrip", name != "lstrip");
      if (name == "upper" || name == "lower" || name == "title" || name == "capitalize") return change_case(text, name);
      if (name == "startswith" || name == "endswith") {
        const Value wanted = argument(e, 1);
        const Value list = wanted.is_array() ? wanted : Value::array({wanted});
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
        const Value found = member(of, text_of(argument(e, 1), e), e);
        return !found.is_discarded() ? found : e.parts.size() > 2 ? argument(e, 2) : Value(nullptr);
      }
    }
    fail(e, "the method \"", name, "\" of ", of.is_discarded() ? "an undefined value" : of.type_name(), " is not supported");
  }
  static Value entries(const Value& of, std::string_view what) {
    Value list = Value::array();
    for (auto item = of.begin(); item != of.end(); ++item) {
      if (what == "keys")
        list.push_back(item.key());
      else if (what == "values")
        list.push_back(*item);
      else
        list.push_back(Value::array({item.key(), *item}));
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
  Value split(const std::string& text, const Expression& e) {
    Value list = Value::array();
    const Value by = argument(e, 1, "sep");
    const Value most = argument(e, 2, "maxsplit");
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

  Value filter(const Expression& e) {
    const Value value = (*this)(*e.parts[0]);
    const std::string& name = e.text;
    if (name == "default" || name == "d") {
      const bool falsy = is_true(argument(e, 2, "boolean"));
      return value.is_discarded() || (falsy && !is_true(value)) ? argument(e, 1, "default_value") : value;
    }
    if (name == "tojson") {
      const Value indent = argument(e, 1, "indent");
      return detail::to_json_text(value, indent.is_number_integer() ? indent.template get<int>() : -1);
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
      if (value.is_number_float()) return static_cast<std::int64_t>(value.template get<double>());
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
  Value list_filter(const std::string& name, const Value& value, const Expression& e) {
    Value list = value.is_string() ? characters(text_of(value, e)) : value.is_object() ? entries(value, "keys") : value;
    if (!list.is_array()) fail(e, "the filter \"", name, "\" needs a list");
    if (name == "list") return list;
    if (name == "first") return list.empty() ? undefined<Value>() : list.front();
    if (name == "last") return list.empty() ? undefined<Value>() : list.back();
    if (name == "reverse") {
      std::reverse(list.begin(), list.end());
      return list;
    }
    std::string out;
    const Value between = argument(e, 1, "d");
    for (std::size_t i = 0; i < list.size(); ++i) out += (i > 0 ? python_text(between) : "") + python_text(list[i]);
    return out;
  }

  bool test(const Expression& e) {
    const Value value = (*this)(*e.parts[0]);
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

  Scopes& scopes_;
};
}  // namespace vbon::text::detail

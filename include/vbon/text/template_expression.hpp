// vbon/text/template_expression.hpp
//
// Expressions of a chat template: parsed once into a tree, evaluated over variables. The operators, filters,
// tests and methods of Jinja that chat templates use; any other is refused by its name.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/text/template_lexer.hpp"
#include "vbon/text/template_value.hpp"
#include "vbon/text/unicode.hpp"

namespace vbon::text::detail {
/// Variables by name; inner scopes hide outer ones.
template <class Value>
class TemplateScopes {
 public:
  void push() { scopes_.emplace_back(); }
  void pop() { scopes_.pop_back(); }
  void set(const std::string& name, Value value) { scopes_.back()[name] = std::move(value); }
  Value* find(const std::string& name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (const auto found = scope->find(name); found != scope->end()) return &found->second;
    return nullptr;
  }

 private:
  std::vector<std::map<std::string, Value>> scopes_ = std::vector<std::map<std::string, Value>>(1);
};

template <class Value>
struct TemplateExpression;
template <class Value>
using ExpressionPtr = std::unique_ptr<TemplateExpression<Value>>;
template <class Value>
struct TemplateExpression {
  enum class Kind { literal, name, list, dict, unary, binary, condition, attribute, index, slice, call, filter, test };
  Kind kind = Kind::literal;
  std::string text;  // operator, name, attribute, filter or test
  Value literal;
  std::vector<ExpressionPtr<Value>> parts;                          // operands in order; absent slice bounds are null
  std::vector<std::pair<std::string, ExpressionPtr<Value>>> named;  // named arguments
  bool negated = false;                                             // of a test
  std::size_t line = 1;
};

template <class Value>
class ExpressionParser {
 public:
  using Expression = TemplateExpression<Value>;
  using ExpressionPtr = detail::ExpressionPtr<Value>;

  ExpressionParser(const std::vector<TemplateToken>& tokens, std::size_t line) : tokens_(tokens), line_(line) {}

  ExpressionPtr expression() {
    const Nest nest(*this);
    ExpressionPtr value = logical_or();
    while (take_name("if")) {
      ExpressionPtr condition = logical_or();
      value =
          node(Kind::condition, "if", std::move(value), std::move(condition), take_name("else") ? expression() : nullptr);
    }
    return value;
  }
  /// An expression without a condition, as the list of a loop is.
  ExpressionPtr operand() { return logical_or(); }

  const TemplateToken& peek(std::size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  bool at_end() const { return peek().kind == TemplateToken::Kind::end; }
  bool take_name(std::string_view name) { return take(TemplateToken::Kind::name, name); }
  bool take_symbol(std::string_view symbol) { return take(TemplateToken::Kind::symbol, symbol); }
  std::string name() {
    if (peek().kind != TemplateToken::Kind::name) fail_template(line_, "a name was expected, got \"", peek().text, "\"");
    return tokens_[at_++].text;
  }
  void expect_symbol(std::string_view symbol) {
    if (!take_symbol(symbol)) fail_template(line_, "\"", symbol, "\" was expected, got \"", peek().text, "\"");
  }
  void expect_end() {
    if (!at_end()) fail_template(line_, "\"", peek().text, "\" was not expected");
  }

 private:
  using Kind = typename Expression::Kind;
  struct Nest {  // bounds the recursion
    explicit Nest(ExpressionParser& p) : parser(p) {
      if (++parser.depth_ > 100) fail_template(parser.line_, "expressions nested deeper than 100 levels");
    }
    ~Nest() { --parser.depth_; }
    ExpressionParser& parser;
  };
  bool take(TemplateToken::Kind kind, std::string_view text) {
    if (peek().kind != kind || peek().text != text) return false;
    ++at_;
    return true;
  }
  template <class... Parts>
  ExpressionPtr node(Kind kind, std::string text, Parts... parts) {
    auto out = std::make_unique<Expression>();
    out->kind = kind;
    out->text = std::move(text);
    out->line = line_;
    (out->parts.push_back(std::move(parts)), ...);
    return out;
  }
  ExpressionPtr literal(Value value) {
    ExpressionPtr out = node(Kind::literal, "");
    out->literal = std::move(value);
    return out;
  }
  /// Left-associative operators of one level, written as symbols or names.
  template <class Next>
  ExpressionPtr level(std::initializer_list<std::string_view> operators, const Next& next) {
    ExpressionPtr left = next();
    for (bool found = true; found;) {
      found = false;
      for (const auto op : operators)
        if (take_symbol(op) || take_name(op)) {
          left = node(Kind::binary, std::string(op), std::move(left), next());
          found = true;
          break;
        }
    }
    return left;
  }
  ExpressionPtr logical_or() {
    return level({"or"}, [this] { return level({"and"}, [this] { return logical_not(); }); });
  }
  ExpressionPtr logical_not() {
    const Nest nest(*this);
    return take_name("not") ? node(Kind::unary, "not", logical_not()) : comparison();
  }
  ExpressionPtr comparison() {
    ExpressionPtr left = sum();
    for (;;) {
      if (peek().text == "not" && peek(1).text == "in") {
        at_ += 2;
        left = node(Kind::unary, "not", node(Kind::binary, "in", std::move(left), sum()));
        continue;
      }
      std::string op;
      for (const std::string_view candidate : {"==", "!=", "<=", ">=", "<", ">", "in"})
        if (op.empty() && (take_symbol(candidate) || take_name(candidate))) op = candidate;
      if (op.empty()) return left;
      left = node(Kind::binary, op, std::move(left), sum());
    }
  }
  ExpressionPtr sum() {
    return level({"+", "-"}, [this] {
      return level({"~"}, [this] { return level({"*", "//", "/", "%"}, [this] { return unary(); }); });
    });
  }
  ExpressionPtr unary() {
    const Nest nest(*this);
    if (take_symbol("-")) return node(Kind::unary, "-", unary());
    if (take_symbol("+")) return unary();
    return filtered(postfix(primary()));
  }
  ExpressionPtr primary() {
    using TokenKind = TemplateToken::Kind;
    const TemplateToken token = peek();
    if (token.kind == TokenKind::string) {
      std::string text;  // neighbouring strings are one
      while (peek().kind == TokenKind::string) text += tokens_[at_++].text;
      return literal(text);
    }
    if (token.kind == TokenKind::number) {
      ++at_;
      if (token.text.find('.') != std::string::npos) return literal(std::stod(token.text));
      if (token.text.size() > 18) fail_template(line_, "the number ", token.text, " is too large");
      return literal(std::stoll(token.text));
    }
    if (token.kind == TokenKind::name) {
      ++at_;
      if (token.text == "true" || token.text == "True") return literal(true);
      if (token.text == "false" || token.text == "False") return literal(false);
      if (token.text == "none" || token.text == "None") return literal(nullptr);
      return node(Kind::name, token.text);
    }
    if (take_symbol("(")) {
      ExpressionPtr inner = expression();
      if (peek().text == ",") {  // a tuple serves as a list
        ExpressionPtr list = node(Kind::list, "", std::move(inner));
        while (take_symbol(",") && peek().text != ")") list->parts.push_back(expression());
        inner = std::move(list);
      }
      expect_symbol(")");
      return inner;
    }
    if (take_symbol("[")) {
      ExpressionPtr list = node(Kind::list, "");
      while (!take_symbol("]")) {
        list->parts.push_back(expression());
        if (!take_symbol(",") && peek().text != "]") expect_symbol("]");
      }
      return list;
    }
    if (take_symbol("{")) {
      ExpressionPtr dict = node(Kind::dict, "");
      while (!take_symbol("}")) {
        dict->parts.push_back(expression());
        expect_symbol(":");
        dict->parts.push_back(expression());
        if (!take_symbol(",") && peek().text != "}") expect_symbol("}");
      }
      return dict;
    }
    fail_template(line_, "an expression was expected, got \"", token.text, "\"");
  }
  ExpressionPtr postfix(ExpressionPtr value) {
    for (;;) {
      if (take_symbol(".")) {
        value = node(Kind::attribute, name(), std::move(value));
      } else if (take_symbol("[")) {
        value = subscript(std::move(value));
      } else if (take_symbol("(")) {
        value = node(Kind::call, "", std::move(value));
        arguments(*value);
      } else {
        return value;
      }
    }
  }
  ExpressionPtr subscript(ExpressionPtr value) {
    ExpressionPtr bounds[3];
    bool slice = false;
    for (int i = 0; i < 3; ++i) {
      if (peek().text != ":" && peek().text != "]") bounds[i] = expression();
      if (!take_symbol(":")) break;
      slice = true;
    }
    expect_symbol("]");
    if (slice)
      return node(Kind::slice, "", std::move(value), std::move(bounds[0]), std::move(bounds[1]), std::move(bounds[2]));
    if (!bounds[0]) fail_template(line_, "an index was expected");
    return node(Kind::index, "", std::move(value), std::move(bounds[0]));
  }
  /// Behind an opening parenthesis.
  void arguments(Expression& to) {
    while (!take_symbol(")")) {
      if (peek().kind == TemplateToken::Kind::name && peek(1).text == "=") {
        std::string key = name();
        expect_symbol("=");
        to.named.emplace_back(std::move(key), expression());
      } else {
        to.parts.push_back(expression());
      }
      if (!take_symbol(",") && peek().text != ")") expect_symbol(")");
    }
  }
  ExpressionPtr filtered(ExpressionPtr value) {
    for (;;) {
      if (take_symbol("|")) {
        value = node(Kind::filter, name(), std::move(value));
        if (take_symbol("(")) arguments(*value);
        value = postfix(std::move(value));
      } else if (take_name("is")) {
        const bool negated = take_name("not");
        value = node(Kind::test, name(), std::move(value));
        value->negated = negated;
        if (take_symbol("("))
          arguments(*value);
        else if (value->text == "equalto" || value->text == "eq" || value->text == "in" || value->text == "divisibleby")
          value->parts.push_back(postfix(primary()));
      } else {
        return value;
      }
    }
  }

  const std::vector<TemplateToken>& tokens_;
  std::size_t line_;
  std::size_t at_ = 0;
  int depth_ = 0;
};
}  // namespace vbon::text::detail

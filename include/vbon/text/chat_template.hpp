// vbon/text/chat_template.hpp
//
// Renders a conversation as the text that a model was trained on. Models carry this as a Jinja template; the
// part of the language that such templates use is understood: for (with if, else, loop.*), if, set,
// namespaces, white-space control, expressions. Anything else gives an error that names it.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/text/chat_message.hpp"
#include "vbon/text/template_evaluator.hpp"
#include "vbon/text/template_expression.hpp"
#include "vbon/text/template_lexer.hpp"
#include "vbon/text/template_value.hpp"

namespace vbon::text {
namespace detail {
template <class Value>
struct TemplateNode {
  enum class Kind { text, output, condition, loop, assign, assign_block, leave, next };
  Kind kind = Kind::text;
  std::string text;                // of Kind::text
  std::vector<std::string> names;  // assigned or loop variables; two for an attribute of a namespace
  ExpressionPtr<Value> value;      // output, loop list, assigned value
  ExpressionPtr<Value> only;       // the condition of a loop
  std::vector<std::pair<ExpressionPtr<Value>, std::vector<TemplateNode>>> branches;  // a null condition is "else"
};

/// Builds the tree of a template from its parts.
template <class Value>
class TemplateParser {
 public:
  using Node = TemplateNode<Value>;

  explicit TemplateParser(std::string_view source) : parts_(template_parts(source)) {}
  std::vector<Node> parse() {
    auto nodes = block({});
    if (at_ < parts_.size()) fail_template(parts_[at_].line, "\"", parts_[at_].tokens[0].text, "\" without its beginning");
    return nodes;
  }

 private:
  using Kind = typename Node::Kind;

  /// Nodes up to a statement that begins with one of `ends`, which is left to be read.
  std::vector<Node> block(std::initializer_list<std::string_view> ends) {
    if (++depth_ > 100) fail_template(parts_[at_ - 1].line, "statements nested deeper than 100 levels");
    std::vector<Node> nodes;
    for (; at_ < parts_.size(); ++at_) {
      const TemplatePart& part = parts_[at_];
      if (part.kind == TemplatePart::Kind::text) {
        nodes.emplace_back().text = part.text;
        continue;
      }
      ExpressionParser<Value> parser(part.tokens, part.line);
      if (part.kind == TemplatePart::Kind::output) {
        Node& node = nodes.emplace_back();
        node.kind = Kind::output;
        node.value = parser.expression();
        parser.expect_end();
        continue;
      }
      const std::string& word = part.tokens[0].text;
      if (std::find(ends.begin(), ends.end(), word) != ends.end()) break;
      if (word == "generation") {  // marks what the assistant said, for training masks; the text is unchanged
        ++at_;
        for (Node& inner : block({"endgeneration"})) nodes.push_back(std::move(inner));
        require_end("endgeneration", part.line);
        continue;
      }
      if (word.starts_with("end") || word == "else" || word == "elif") break;
      nodes.push_back(statement(part, parser));
    }
    --depth_;
    return nodes;
  }
  void require_end(std::string_view end, std::size_t line) const {
    if (at_ >= parts_.size() || parts_[at_].tokens[0].text != end)
      fail_template(line, "a block without its {% ", end, " %}");
  }

  Node statement(const TemplatePart& part, ExpressionParser<Value>& parser) {
    Node node;
    const std::string word = parser.name();
    if (word == "if") {
      node.kind = Kind::condition;
      read_branches(node, parser.expression(), "endif", part.line);
    } else if (word == "for") {
      node.kind = Kind::loop;
      do node.names.push_back(parser.name());
      while (parser.take_symbol(","));
      if (!parser.take_name("in")) fail_template(part.line, "\"in\" was expected in a loop");
      node.value = parser.operand();
      if (parser.take_name("if")) node.only = parser.expression();
      if (parser.take_name("recursive")) fail_template(part.line, "recursive loops are not supported");
      parser.expect_end();
      read_branches(node, nullptr, "endfor", part.line);
    } else if (word == "set") {
      node.names.push_back(parser.name());
      if (parser.take_symbol(".")) node.names.push_back(parser.name());
      if (parser.take_symbol("=")) {
        node.kind = Kind::assign;
        node.value = parser.expression();
      } else {
        node.kind = Kind::assign_block;
        ++at_;
        node.branches.emplace_back(nullptr, block({"endset"}));
        require_end("endset", part.line);
      }
    } else if (word == "break" || word == "continue") {
      node.kind = word == "break" ? Kind::leave : Kind::next;
    } else {
      fail_template(part.line, "the statement \"", word,
                    "\" is not supported; known: if, for, set, break, continue, generation");
    }
    if (node.kind == Kind::assign || node.kind == Kind::leave || node.kind == Kind::next) parser.expect_end();
    return node;
  }
  /// The bodies of an if or a for up to its end.
  void read_branches(Node& node, ExpressionPtr<Value> condition, std::string_view end, std::size_t line) {
    for (;;) {
      ++at_;
      const bool last = !condition && !node.branches.empty();
      node.branches.emplace_back(std::move(condition), block({"elif", "else", end}));
      if (at_ >= parts_.size() || last || parts_[at_].tokens[0].text == end) return require_end(end, line);
      ExpressionParser<Value> parser(parts_[at_].tokens, parts_[at_].line);
      if (parser.take_name("elif") && end == "endif")
        condition = parser.expression();
      else if (!parser.take_name("else"))
        require_end(end, line);
      parser.expect_end();
    }
  }

  std::vector<TemplatePart> parts_;
  std::size_t at_ = 0;
  int depth_ = 0;
};

/// Writes the text of a tree.
template <class Value>
class TemplateRenderer {
 public:
  using Node = TemplateNode<Value>;
  using Scopes = TemplateScopes<Value>;

  explicit TemplateRenderer(Scopes& scopes) : scopes_(scopes), evaluate_(scopes) {}

  enum class Flow { on, leave, next };
  Flow render(const std::vector<Node>& nodes, std::string& out) {
    for (const Node& node : nodes) {
      const Flow flow = render(node, out);
      if (flow != Flow::on) return flow;
    }
    return Flow::on;
  }

 private:
  using Kind = typename Node::Kind;

  Flow render(const Node& node, std::string& out) {
    switch (node.kind) {
      case Kind::text:
        out += node.text;
        break;
      case Kind::output:
        out += python_text(evaluate_(*node.value));
        break;
      case Kind::condition:
        for (const auto& [condition, body] : node.branches)
          if (!condition || is_true(evaluate_(*condition))) return render(body, out);
        break;
      case Kind::loop:
        loop(node, out);
        break;
      case Kind::assign:
        assign(node.names, evaluate_(*node.value));
        break;
      case Kind::assign_block: {
        std::string text;
        render(node.branches[0].second, text);
        assign(node.names, text);
        break;
      }
      case Kind::leave:
        return Flow::leave;
      case Kind::next:
        return Flow::next;
    }
    return Flow::on;
  }
  void assign(const std::vector<std::string>& names, Value value) {
    if (names.size() == 1) return scopes_.set(names[0], std::move(value));
    Value* space = scopes_.find(names[0]);
    require<DomainError>(space != nullptr && space->is_object(), ErrorCode{"chat_template"}, "chat template: \"", names[0],
                         "\" is no namespace");
    (*space)[names[1]] = std::move(value);
  }
  void bind(const Node& node, const Value& item) {
    if (node.names.size() == 1) return scopes_.set(node.names[0], item);
    require<DomainError>(item.is_array() && item.size() == node.names.size(), ErrorCode{"chat_template"},
                         "chat template: a loop over ", node.names.size(), " names met a value of another size");
    for (std::size_t i = 0; i < node.names.size(); ++i) scopes_.set(node.names[i], item[i]);
  }
  void loop(const Node& node, std::string& out) {
    const Value all = evaluate_(*node.value);
    std::vector<Value> items;
    if (all.is_array())
      items.assign(all.begin(), all.end());
    else if (all.is_object())
      for (auto entry = all.begin(); entry != all.end(); ++entry) items.emplace_back(entry.key());
    else if (all.is_string())
      for_each_character(all.template get_ref<const std::string&>(),
                         [&](char32_t, std::string_view c) { items.emplace_back(std::string(c)); });
    else
      require<DomainError>(all.is_discarded(), ErrorCode{"chat_template"}, "chat template: a loop needs a list, got ",
                           all.type_name());
    scopes_.push();
    if (node.only)
      std::erase_if(items, [&](const Value& item) {
        bind(node, item);
        return !is_true(evaluate_(*node.only));
      });
    for (std::size_t i = 0; i < items.size(); ++i) {
      Value state = {{"index", i + 1},
                     {"index0", i},
                     {"revindex", items.size() - i},
                     {"revindex0", items.size() - i - 1},
                     {"first", i == 0},
                     {"last", i + 1 == items.size()},
                     {"length", items.size()}};
      if (i > 0) state["previtem"] = items[i - 1];
      if (i + 1 < items.size()) state["nextitem"] = items[i + 1];
      scopes_.set("loop", std::move(state));
      bind(node, items[i]);
      scopes_.push();
      const Flow flow = render(node.branches[0].second, out);
      scopes_.pop();
      if (flow == Flow::leave) break;
    }
    scopes_.pop();
    if (items.empty() && node.branches.size() > 1) render(node.branches[1].second, out);
  }

  Scopes& scopes_;
  TemplateEvaluator<Value> evaluate_;
};
}  // namespace detail

class ChatTemplate {
  using Node = detail::TemplateNode<TemplateValue>;

 public:
  using Variables = std::map<std::string, std::string>;

  /// @throws FormatError naming the line and what is not understood
  template <class Value = TemplateValue>
  explicit ChatTemplate(std::string_view source)
      : nodes_(std::make_shared<const std::vector<Node>>(detail::TemplateParser<Value>(source).parse())) {}

  /// @param variables  further names that the template may use: bos_token, eos_token, ...
  /// @throws DomainError chat_template when the template refuses the conversation
  template <class Value = TemplateValue>
  std::string render(std::span<const ChatMessage> messages, bool add_generation_prompt,
                     const Variables& variables = {}) const {
    Value list = Value::array();
    for (const ChatMessage& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
    return render_fields(list, add_generation_prompt, variables);
  }
  /// The same for messages with any fields, as they stand in a JSON file.
  template <class Value = TemplateValue>
  std::string render_fields(const Value& messages, bool add_generation_prompt, const Variables& variables = {}) const {
    detail::TemplateScopes<Value> scopes;
    for (const auto& [name, value] : variables) scopes.set(name, value);
    scopes.set("messages", messages);
    scopes.set("add_generation_prompt", add_generation_prompt);
    std::string out;
    detail::TemplateRenderer<Value>(scopes).render(*nodes_, out);
    return out;
  }

 private:
  std::shared_ptr<const std::vector<Node>> nodes_;
};
}  // namespace vbon::text

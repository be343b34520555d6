#include "vbon/text/chat_template.hpp"

#include "support/catch.hpp"
#include "vbon/io/json.hpp"

namespace vbon::test {
using Catch::Matchers::Contains;
using text::ChatTemplate;
namespace {
std::string rendered(std::string_view source) {
  return ChatTemplate(source).render_fields(text::TemplateValue::array(), false);
}
}  // namespace

TEST_CASE("templates render as the engine of transformers does", "[text][chat][parity]") {
  for (const auto& row : io::read_json<text::TemplateValue>(VBON_TEST_DATA "/text/chat.json")) {
    CAPTURE(row["name"], row["messages"].dump());
    const ChatTemplate chat(row["template"].get<std::string>());
    const auto render = [&] {
      return chat.render_fields(row["messages"], row["add_generation_prompt"].get<bool>(),
                                {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
    };
    if (row.contains("rendered"))
      CHECK(render() == row["rendered"].get<std::string>());
    else
      CHECK_THROWS_WITH(render(), Contains(row["error"].get<std::string>()));
  }
}
TEST_CASE("messages of text need no JSON", "[text][chat]") {
  const ChatTemplate chat(
      "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}>{% endif %}");
  const text::ChatMessage talk[] = {{"user", "hi"}, {"assistant", "yo"}};
  CHECK(chat.render(talk, true) == "user: hi\nassistant: yo\n>");
}
TEST_CASE("white space beside tags goes as chat templates expect", "[text][chat]") {
  CHECK(rendered("a\n  {% if true %}\nb\n  {% endif %}\nc\n") == "a\nb\nc");
  CHECK(rendered("a {%- if true -%} b {%- endif %} c") == "ab c");
  CHECK(rendered("a {{- 'x' -}} b") == "axb");
  CHECK(rendered("a\n    {#- gone -#}\n b") == "ab");
  CHECK(rendered("a\n  {%+ if true %}b{% endif +%}\nc") == "a\n  b\nc");
  CHECK(rendered("{{ '}}' }}{{ \"%}\" }}") == "}}%}");
}
TEST_CASE("what is not understood is named with its line", "[text][chat][error]") {
  CHECK_THROWS_WITH(ChatTemplate("a\nb\n{% macro f() %}{% endmacro %}"),
                    Contains("line 3: the statement \"macro\" is not supported"));
  CHECK_THROWS_WITH(ChatTemplate("{% for m in messages %}"), Contains("without its {% endfor %}"));
  CHECK_THROWS_WITH(ChatTemplate("{% endif %}"), Contains("\"endif\" without its beginning"));
  CHECK_THROWS_WITH(ChatTemplate("{{ 'x"), Contains("does not end"));
  CHECK_THROWS_WITH(ChatTemplate("{{ 1 + }}"), Contains("an expression was expected"));
  CHECK_THROWS_WITH(ChatTemplate("{{ a b }}"), Contains("\"b\" was not expected"));
  CHECK_THROWS_AS(ChatTemplate("{{ " + std::string(5000, '(') + "1" + std::string(5000, ')') + " }}"), FormatError);
  CHECK_THROWS_WITH(rendered("\n{{ 'x' | shout }}"), Contains("line 2: the filter \"shout\" is not supported"));
  CHECK_THROWS_WITH(rendered("{{ strftime_now('%Y') }}"), Contains("the function \"strftime_now\" is not supported"));
  CHECK_THROWS_WITH(rendered("{{ 'x'.swapcase() }}"), Contains("the method \"swapcase\""));
  CHECK_THROWS_WITH(rendered("{{ 1 is prime }}"), Contains("the test \"prime\""));
  CHECK_THROWS_WITH(rendered("{{ nobody.name }}"), Contains("an undefined value has no \"name\""));
  CHECK_THROWS_WITH(rendered("{{ 1 + 'x' }}"), Contains("\"+\" does not take"));
  CHECK_THROWS_AS(rendered("{{ 1 % 0 }}"), DomainError);
  CHECK_THROWS_AS(rendered("{% for i in range(10000000) %}{% endfor %}"), DomainError);
  CHECK_THROWS_WITH(rendered("{{ raise_exception('no tools here') }}"), "chat template: no tools here");
}
TEST_CASE("a template with any piece cut out renders or gives an error, nothing else", "[text][chat][property]") {
  for (const auto& row : io::read_json<text::TemplateValue>(VBON_TEST_DATA "/text/chat.json")) {
    if (row["add_generation_prompt"].get<bool>()) continue;
    const auto source = row["template"].get<std::string>();
    for (std::size_t at = 0; at < source.size(); at += 3) {
      try {
        ChatTemplate(std::string(source).erase(at, 2)).render_fields(row["messages"], false);
      } catch (const Error&) {
      }
    }
  }
}
}  // namespace vbon::test

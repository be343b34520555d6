#include "support/catch.hpp"
#include "support/rollout.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/reward/callable.hpp"
#include "vbon/reward/ensemble.hpp"
#include "vbon/reward/length.hpp"
#include "vbon/reward/table.hpp"

#include <fstream>

using namespace vbon::reward;
using vbon::test::text_batch;
using vbon::test::values_of;
using Values = std::vector<double>;

namespace {
const auto batch = text_batch({{"one two", {"a b  c", "", " x\n"}}, {"q", {"d\xC3\xA9j\xC3\xA0 vu"}}});
}

TEST_CASE("length counts words, code points or tokens", "[reward][length]") {
  CHECK(values_of(Length{}(batch)) == Values{3, 0, 1, 2});
  CHECK(values_of(Length{.unit = LengthUnit::characters}(batch)) == Values{6, 0, 3, 7});
  vbon::RolloutBatch tokens;
  tokens.add_prompt({});
  tokens.add_response(std::vector<vbon::TokenId>{1, 2, 3}, true);
  CHECK(values_of(Length{.unit = LengthUnit::tokens}(tokens)) == Values{3});
  CHECK_THROWS_AS(Length{}(tokens), vbon::ShapeError);
}

TEST_CASE("with a target the nearest length is the best", "[reward][length]") {
  CHECK(values_of(Length{.target = 2.0}(batch)) == Values{-1, -2, -1, 0});
  CHECK(Length::open("2").target == 2.0);
  CHECK_FALSE(Length::open("").target.has_value());
  CHECK_FALSE(std::signbit(Length{.target = 2.0}(text_batch({{"p", {"two words"}}}))[0]));
  for (const char* wrong : {"two", " 2", "2x", "0x2", "inf", "nan"}) CHECK_THROWS_AS(Length::open(wrong), vbon::ConfigError);
  CHECK_THROWS_AS(Length::open("-1"), vbon::ConfigError);
}

TEST_CASE("any function of prompt and response is a reward", "[reward][callable]") {
  const Callable reward([](std::string_view prompt, std::string_view response) {
    return static_cast<double>(100 * prompt.size() + response.size());
  });
  static_assert(vbon::Reward<std::remove_const_t<decltype(reward)>>);
  CHECK(values_of(reward(batch)) == Values{706, 700, 703, 109});
}

TEST_CASE("a function of the whole batch is a reward", "[reward][callable]") {
  const Callable reward(
      [](const vbon::RolloutBatch& b) -> vbon::Array { return vbon::Array::LinSpaced(b.responses(), 0, 3); });
  CHECK(values_of(reward(batch)) == Values{0, 1, 2, 3});
  const Callable wrong([](const vbon::RolloutBatch&) -> vbon::Array { return vbon::Array::Zero(1); });
  CHECK_THROWS_AS(wrong(batch), vbon::ShapeError);
}

TEST_CASE("a NaN from a function names prompt and sample; infinity is legal", "[reward][callable][error]") {
  const Callable nan([](std::string_view, std::string_view response) { return response == " x\n" ? NAN : 0.0; });
  try {
    nan(batch);
    FAIL("an error was expected");
  } catch (const vbon::DomainError& error) {
    CHECK(error.code() == "nan_reward");
    CHECK_THAT(error.what(), Catch::Contains("prompt 0 (id 100), sample 2"));
  }
  const Callable infinite([](std::string_view, std::string_view) { return -INFINITY; });
  CHECK(values_of(infinite(batch)) == Values(4, -INFINITY));
}

TEST_CASE("an ensemble adds, takes the least, or is cautious", "[reward][ensemble]") {
  const Callable three([](std::string_view, std::string_view) { return 3.0; });
  const std::vector<EnsembleMember> members = {{Length{}, 1}, {three, 0.5}};
  CHECK(values_of(Ensemble{.members = members}(batch)) == Values{4.5, 1.5, 2.5, 3.5});
  CHECK(values_of(Ensemble{.members = members, .combine = Combine::least}(batch)) == Values{1.5, 0, 1, 1.5});
  CHECK(values_of(Ensemble{.members = members, .combine = Combine::cautious_mean, .caution = 1}(batch)) ==
        Values{1.5, 0, 1, 1.5});
  CHECK(values_of(Ensemble{.members = {{Length{}, 2}}, .combine = Combine::cautious_mean}(batch)) == Values{6, 0, 2, 4});
  CHECK_THROWS_AS(Ensemble{}(batch), vbon::ConfigError);
}

TEST_CASE("infinities of opposite sign in a sum are caught as NaN", "[reward][ensemble][error]") {
  const Callable up([](std::string_view, std::string_view) { return INFINITY; });
  const Callable down([](std::string_view, std::string_view) { return -INFINITY; });
  CHECK_THROWS_AS((Ensemble{.members = {{up, 1}, {down, 1}}}(batch)), vbon::DomainError);
}

TEST_CASE("a reward keeps its name when its type is hidden", "[reward][any]") {
  const Any reward = Length{};
  CHECK(reward.kind() == "length");
  CHECK(values_of(reward(batch)) == Values{3, 0, 1, 2});
  CHECK_THROWS_AS(Any{}(batch), vbon::ConfigError);
}

TEST_CASE("a table looks rewards up by prompt and response", "[reward][table]") {
  const vbon::test::TemporaryFolder folder;
  std::ofstream(folder / "t.jsonl") << R"({"prompt": "q", "response": "r", "reward": 1.5})"
                                    << "\n\n"
                                    << R"({"prompt": "q", "text": "s", "reward": -1})" << '\n';
  Table table = Table::load(folder / "t.jsonl");
  CHECK(values_of(table(text_batch({{"q", {"s", "r", "s"}}}))) == Values{-1, 1.5, -1});
  try {
    table(text_batch({{"q", {"r"}}, {"other", {"r"}}}));
    FAIL("an error was expected");
  } catch (const vbon::DomainError& error) {
    CHECK(error.code() == "unknown_response");
    CHECK_THAT(error.what(), Catch::Contains("prompt 1"));
  }
  std::ofstream(folder / "t.jsonl") << R"({"prompt": "q", "response": "r", "reward": "-inf"})" << '\n';
  CHECK(values_of(Table::load(folder / "t.jsonl")(text_batch({{"q", {"r"}}}))) == Values{-INFINITY});
  table.set("other", "r", 9);
  CHECK(values_of(table(text_batch({{"other", {"r"}}}))) == Values{9});
}

TEST_CASE("a broken table names its line", "[reward][table][error]") {
  const vbon::test::TemporaryFolder folder;
  const auto failure = [&](const std::string& second) {
    std::ofstream(folder / "t.jsonl") << R"({"prompt": "q", "response": "r", "reward": 1})" << '\n' << second << '\n';
    try {
      Table::load(folder / "t.jsonl");
    } catch (const vbon::FormatError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CHECK_THAT(failure(R"({"prompt": "q", "response": "r", "reward": 2})"),
             Catch::Contains("line 2") && Catch::Contains("already"));
  CHECK_THAT(failure(R"({"response": "r", "reward": 2})"), Catch::Contains("line 2") && Catch::Contains("prompt"));
  CHECK_THAT(failure(R"({"prompt": "q", "reward": 2})"), Catch::Contains("line 2") && Catch::Contains("response"));
  CHECK_THAT(failure(R"({"prompt": "q", "response": "r", "reward": "2"})"),
             Catch::Contains("line 2") && Catch::Contains("reward"));
}

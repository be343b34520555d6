#include "vbon/rollout/snippets.hpp"

#include <fstream>
#include <map>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace vbon;
using namespace vbon::rollout;

namespace {
std::vector<Snippet> many(std::uint64_t count) {
  std::vector<Snippet> all;
  for (std::uint64_t i = 1; i <= count; ++i)
    all.push_back({i, 0, "Text number " + std::to_string(i) + " is about a film that runs for hours"});
  return all;
}
}  // namespace

TEST_CASE("snippets are read with CR LF, without a last line end, in UTF-8", "[rollout][snippets]") {
  const test::TemporaryFolder folder;
  std::ofstream(folder / "s.txt") << "1\t2.25\tGood film.\r\n2\t-0.6\tA clich\xC3\xA9\tof sorts";
  const auto snippets = load_snippets(folder / "s.txt");
  REQUIRE(snippets.size() == 2);
  CHECK((snippets[0].id == 1 && snippets[0].score == 2.25 && snippets[0].text == "Good film."));
  CHECK((snippets[1].id == 2 && snippets[1].score == -0.6 && snippets[1].text == "A clich\xC3\xA9\tof sorts"));
}

TEST_CASE("a broken snippet line is named", "[rollout][snippets][error]") {
  const test::TemporaryFolder folder;
  for (const std::string line : {"2\tx", "2\tgood\ttext", "a\t1\ttext", "2\tnan\ttext", "2 1 text"}) {
    std::ofstream(folder / "s.txt") << "1\t1\tfine\n" << line << "\n";
    CHECK_THROWS_WITH(load_snippets(folder / "s.txt"), Catch::Contains("line 2"));
  }
  std::ofstream(folder / "s.txt") << "\n";
  CHECK_THROWS_AS(load_snippets(folder / "s.txt"), FormatError);
  CHECK_THROWS_AS(load_snippets(folder / "absent.txt"), RunError);
}

TEST_CASE("the parts are disjoint, complete, of the shares asked for, and do not depend on order", "[rollout][snippets]") {
  auto all = many(4000);
  const auto split = split_snippets(all);
  std::map<std::uint64_t, int> part;
  const std::vector<Snippet>* parts[] = {&split.reward_train, &split.policy_train, &split.held_out};
  for (int k = 0; k < 3; ++k)
    for (const auto& snippet : *parts[k]) CHECK(part.emplace(snippet.id, k).second);
  CHECK(part.size() == all.size());
  CHECK(static_cast<double>(split.reward_train.size()) == Approx(2400).margin(120));
  CHECK(static_cast<double>(split.policy_train.size()) == Approx(800).margin(100));

  std::reverse(all.begin(), all.end());
  const auto again = split_snippets(all);
  REQUIRE(again.held_out.size() == split.held_out.size());
  for (const auto& snippet : again.held_out) CHECK(part.at(snippet.id) == 2);
}

TEST_CASE("copies that differ in case, space or punctuation share a part", "[rollout][snippets]") {
  for (int i = 0; i < 50; ++i) {
    const std::string n = std::to_string(i);
    const std::vector<Snippet> copies = {
        {1, 1, "A fine Film, no. " + n + '!'}, {2, 2, "a FINE film no " + n}, {3, 3, "  A fine film -- no. " + n + " "}};
    const auto split = split_snippets(copies);
    const std::size_t sizes[] = {split.reward_train.size(), split.policy_train.size(), split.held_out.size()};
    CHECK(*std::max_element(std::begin(sizes), std::end(sizes)) == 3);
  }
}

TEST_CASE("the split is fixed for good", "[rollout][snippets]") {
  // The parts of the main job hang on these: they must not change between versions.
  const auto split = split_snippets(many(12));
  const auto ids = [](const std::vector<Snippet>& part) {
    std::vector<std::uint64_t> out;
    for (const auto& snippet : part) out.push_back(snippet.id);
    return out;
  };
  CHECK(ids(split.reward_train) == std::vector<std::uint64_t>{1, 3, 4, 6, 8, 9, 10, 12});
  CHECK(ids(split.policy_train) == std::vector<std::uint64_t>{7, 11});
  CHECK(ids(split.held_out) == std::vector<std::uint64_t>{2, 5});
}

TEST_CASE("shares that are none are refused", "[rollout][snippets][error]") {
  CHECK_THROWS_AS(split_snippets({}, {.reward_train = 0.9, .policy_train = 0.2}), DomainError);
  CHECK_THROWS_AS(split_snippets({}, {.reward_train = -0.1, .policy_train = 0.2}), DomainError);
  CHECK(split_snippets(many(10), {.reward_train = 0, .policy_train = 0}).held_out.size() == 10);
}

TEST_CASE("a prompt is the first four to six words, with something left to write", "[rollout][snippets]") {
  std::set<std::size_t> lengths;
  for (const auto& snippet : many(60)) {
    const std::string prompt = snippet_prompt(snippet.text);
    CHECK(snippet.text.starts_with(prompt + ' '));
    lengths.insert(static_cast<std::size_t>(std::count(prompt.begin(), prompt.end(), ' ')) + 1);
  }
  CHECK(lengths == std::set<std::size_t>{4, 5, 6});
  CHECK(snippet_prompt("One two three four").empty());
  CHECK(snippet_prompt("").empty());
  CHECK(snippet_prompt("  a  b  c  d  e  f  g  h  i ").starts_with("a  b  c  d"));
}

TEST_CASE("prompts are unique, ordered by hash, stable under a smaller count, and avoid those of another part",
          "[rollout][snippets]") {
  auto snippets = many(40);
  snippets.push_back({99, 0, snippets[0].text});
  const auto all = snippet_prompts(snippets);
  std::set<std::string> texts;
  for (const auto& prompt : all) CHECK(texts.insert(prompt.text).second);
  CHECK(all.size() == 40);
  const auto some = snippet_prompts(snippets, 5);
  REQUIRE(some.size() == 5);
  for (std::size_t i = 0; i < 5; ++i) CHECK((some[i].text == all[i].text && some[i].id == all[i].id));
  const auto others = snippet_prompts(snippets, 100, some);
  CHECK(others.size() == 35);
  for (const auto& prompt : others)
    for (const auto& taken : some) CHECK(prompt.text != taken.text);
}

#include "vbon/rollout/reference_cache.hpp"

#include <cmath>
#include <fstream>
#include <sstream>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/policy/tabular_policy.hpp"

namespace vbon::test {
namespace {
using rollout::CacheOptions;
using rollout::ReferenceCache;

/// Rewards the number a response spells; ties where two tokens share a value.
struct TokenSum {
  static constexpr std::string_view name = "token_sum";
  Array operator()(const RolloutBatch& batch) const {
    Array reward(batch.responses());
    for (Index i = 0; i < batch.responses(); ++i) {
      reward[i] = 0;
      for (const TokenId token : batch.response(i)) reward[i] += token / 2;
    }
    return reward;
  }
};
struct NanAt {
  static constexpr std::string_view name = "nan_at";
  Array operator()(const RolloutBatch& batch) const {
    Array reward = Array::Zero(batch.responses());
    if (batch.responses() > 2) reward[2] = NAN;
    return reward;
  }
};

std::vector<Prompt> named_prompts(const policy::TabularPolicy& policy) {
  auto prompts = policy.prompts();
  for (auto& prompt : prompts) prompt.text = "prompt " + std::to_string(prompt.id);
  return prompts;
}
policy::TabularPolicy small_policy() {
  policy::TabularPolicy policy({.prompts = 5, .vocabulary = 4, .length = 3});
  auto values = policy.parameters();
  for (Index i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(RngKey{3, 0}.normal(static_cast<std::uint64_t>(i)));
  return policy;
}
void write(const std::filesystem::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }
}  // namespace

TEST_CASE("a cache read from its file holds what was drawn, bit for bit", "[rollout]") {
  TemporaryFolder folder;
  auto policy = small_policy();
  const auto prompts = named_prompts(policy);
  const CacheOptions options{
      .samples = 6, .key = {1, 2}, .sampler = {{"temperature", 1.0}}, .file = folder / "cache.jsonl", .batch = 12};
  const ReferenceCache drawn(policy, TokenSum{}, prompts, options);
  const ReferenceCache read = ReferenceCache::load(folder / "cache.jsonl");
  REQUIRE(read.prompts() == 5);
  for (const auto& prompt : prompts) {
    const auto &a = drawn.find(prompt.text), &b = read.find(prompt.text);
    CHECK(a.token == b.token);
    CHECK(a.reward == b.reward);
    CHECK(a.log_prob == b.log_prob);
    CHECK(std::is_sorted(b.sorted.begin(), b.sorted.end()));
  }
  const RolloutBatch batch = read.batch(prompts);
  CHECK(batch.responses() == 30);
  CHECK((batch.ref_log_prob - policy.log_prob(batch)).abs().maxCoeff() == 0);
}

TEST_CASE("a cache that was cut anywhere grows back into the same file", "[rollout][resume]") {
  TemporaryFolder folder;
  auto policy = small_policy();
  const auto prompts = named_prompts(policy);
  CacheOptions options{.samples = 4, .key = {9, 0}, .sampler = {}, .file = folder / "whole.jsonl", .batch = 8};
  const ReferenceCache whole(policy, TokenSum{}, prompts, options);
  const std::string text = text_of(options.file);
  options.file = folder / "cut.jsonl";
  for (std::size_t cut = 0; cut < text.size(); cut += 37) {
    write(options.file, text.substr(0, cut));
    Index drawn = 0;
    options.progress = [&](Index done, Index) { return drawn = done, true; };
    const ReferenceCache again(policy, TokenSum{}, prompts, options);
    REQUIRE(text_of(options.file) == text);
  }
}

TEST_CASE("a stopped cache keeps the prompts it has", "[rollout][resume]") {
  TemporaryFolder folder;
  auto policy = small_policy();
  const auto prompts = named_prompts(policy);
  CacheOptions options{.samples = 4, .key = {}, .sampler = {}, .file = folder / "c.jsonl", .batch = 4};
  options.progress = [](Index done, Index) { return done < 2; };
  CHECK_THROWS_AS(ReferenceCache(policy, TokenSum{}, prompts, options), RunError);
  CHECK(ReferenceCache::load(options.file).prompts() == 2);
}

TEST_CASE("both published layouts are read", "[rollout]") {
  TemporaryFolder folder;
  write(folder / "lines.jsonl",
        "{\"prompt\":\"a\",\"text\":\"x\",\"reward\":0.5}\n{\"prompt\":\"b\",\"text\":\"y\",\"reward\":1}\n"
        "{\"prompt\":\"a\",\"text\":\"z\",\"reward\":-Infinity}\n");
  write(folder / "groups.jsonl",
        "{\"prompt\":\"a\",\"responses\":[\"x\",\"z\"],\"rewards\":[0.5,-Infinity]}\n"
        "{\"prompt\":\"b\",\"responses\":[\"y\"],\"rewards\":[1]}\n");
  for (const char* name : {"lines.jsonl", "groups.jsonl"}) {
    const auto cache = ReferenceCache::load(folder / name);
    REQUIRE(cache.prompts() == 2);
    CHECK(cache.find("a").text == std::vector<std::string>{"x", "z"});
    CHECK(cache.find("a").sorted == std::vector<double>{-INFINITY, 0.5});
    CHECK(cache.find("b").reward == std::vector<double>{1});
  }
}

TEST_CASE("annotation is the estimator's word on every reward", "[rollout]") {
  auto policy = small_policy();
  const auto prompts = named_prompts(policy);
  const ReferenceCache cache(policy, TokenSum{}, prompts, {.samples = 16, .key = {4, 0}});
  RolloutBatch batch = rollout::collect(policy, TokenSum{}, prompts, 8, {5, 0});
  cache.annotate(batch, rollout::AnyCdf(bon::AddOne{}));
  for (Index i = 0; i < batch.responses(); ++i) {
    const auto& sorted = batch.ref_reward[static_cast<std::size_t>(i / 8)];
    const auto below = std::count_if(sorted.begin(), sorted.end(), [&](double r) { return r < batch.reward[i]; });
    const auto equal = std::count(sorted.begin(), sorted.end(), batch.reward[i]);
    CHECK(batch.log_cdf[i] == Approx(std::log((double(below) + 1) / 17)).margin(1e-14));
    CHECK(batch.log_cdf_le[i] == Approx(std::log((double(below + equal) + 1) / 17)).margin(1e-14));
    CHECK(std::isnan(batch.log_tie[i]) == (equal == 0));
    if (equal > 0) CHECK(std::exp(batch.log_tie[i]) == Approx(double(equal) / 17));
  }
}

TEST_CASE("a cached response is left out of its own reference sample", "[rollout]") {
  auto policy = small_policy();
  const auto prompts = named_prompts(policy);
  const ReferenceCache cache(policy, TokenSum{}, prompts, {.samples = 10, .key = {4, 0}});
  RolloutBatch batch = cache.batch(prompts);
  cache.annotate_left_out(batch, rollout::AnyCdf(bon::AddOne{}));
  for (Index i = 0; i < batch.responses(); ++i) {
    const auto& all = cache.find(batch.prompt[static_cast<std::size_t>(i / 10)].text).reward;
    const auto below = std::count_if(all.begin(), all.end(), [&](double r) { return r < batch.reward[i]; });
    const auto equal = std::count(all.begin(), all.end(), batch.reward[i]) - 1;
    CHECK(batch.log_cdf[i] == Approx(std::log((double(below) + 1) / 10)).margin(1e-14));
    CHECK(std::isnan(batch.log_tie[i]) == (equal == 0));
  }
}

TEST_CASE("float32 rewards tie with their float64 selves", "[rollout]") {
  TemporaryFolder folder;
  const double reward = static_cast<double>(0.1F);
  std::ostringstream line;
  line.precision(17);
  line << "{\"prompt\":\"a\",\"responses\":[\"x\",\"y\"],\"rewards\":[" << reward << ",0.5]}\n";
  write(folder / "c.jsonl", line.str());
  const auto cache = ReferenceCache::load(folder / "c.jsonl");
  RolloutBatch batch;
  batch.add_prompt({.id = 0, .text = "a", .tokens = {}});
  batch.add_response(std::vector<TokenId>{1}, true);
  batch.reward = Array::Constant(1, 0.1);
  cache.annotate(batch, rollout::AnyCdf());
  CHECK_FALSE(std::isnan(batch.log_tie[0]));
}

TEST_CASE("errors of a cache name the place and the remedy", "[rollout][error]") {
  TemporaryFolder folder;
  auto policy = small_policy();
  const auto prompts = named_prompts(policy);
  const auto code = [](auto&& f) -> std::string {
    try {
      f();
    } catch (const Error& error) {
      return std::string(error.code()) + ": " + error.what();
    }
    return "no error";
  };
  const auto has = [](const std::string& text, const std::string& part) {
    INFO(text);
    CHECK(text.find(part) != text.npos);
  };
  const auto nan = code([&] { ReferenceCache(policy, NanAt{}, prompts, {.samples = 4}); });
  has(nan, "nan_reward");
  has(nan, "sample 2 of the prompt '");
  write(folder / "nan.jsonl", "{\"prompt\":\"a\",\"responses\":[\"x\",\"y\"],\"rewards\":[0.5,NaN]}\n");
  const auto nan_line = code([&] { ReferenceCache::load(folder / "nan.jsonl"); });
  has(nan_line, "nan_reward");
  has(nan_line, "line 1");
  has(nan_line, "sample 1 of the prompt 'a'");
  write(folder / "empty.jsonl", "");
  has(code([&] { ReferenceCache::load(folder / "empty.jsonl"); }), "empty_cache");
  write(folder / "none.jsonl", "{\"prompt\":\"a\",\"responses\":[],\"rewards\":[]}\n");
  has(code([&] { ReferenceCache::load(folder / "none.jsonl"); }), "empty_cache");
  write(folder / "key.jsonl", "{\"prompt\":\"a\",\"text\":\"x\"}\n");
  has(code([&] { ReferenceCache::load(folder / "key.jsonl"); }), "\"reward\" is missing");
  write(folder / "count.jsonl", "{\"prompt\":\"a\",\"responses\":[\"x\"],\"rewards\":[1,2]}\n");
  has(code([&] { ReferenceCache::load(folder / "count.jsonl"); }), "1 responses but 2 rewards");
  const auto refusal = [&](const std::string& more) {
    write(folder / "bad.jsonl", "{\"prompt\":\"a\",\"responses\":[\"x\"],\"rewards\":[1]," + more + "}\n");
    return code([&] { ReferenceCache::load(folder / "bad.jsonl"); });
  };
  has(refusal("\"sampler\":3"), "line 1: an object of settings under \"sampler\" expected, got 3");
  has(refusal("\"tokens\":[[1,99999999999]]"), "\"tokens\" of sample 0: an integer in [-2147483648, 2147483647] expected");
  has(refusal("\"tokens\":[[1,99999999999]]"), "got 99999999999");
  has(refusal("\"tokens\":[[-1]]"), "a token id >= 0 expected, got -1");
  has(refusal("\"tokens\":[[1.5]]"), "got 1.5");
  has(refusal("\"tokens\":[[1]],\"finished\":[256]"), "\"finished\": 0 or 1 expected, got 256");
  has(refusal("\"tokens\":[[1]],\"log_probs\":[[\"x\"]]"), "\"log_probs\" of sample 0: a number expected");
  has(code([&] { ReferenceCache().find("a"); }), "unknown_prompt");
  const auto file = folder / "cache.jsonl";
  ReferenceCache(policy, TokenSum{}, prompts, {.samples = 4, .key = {}, .sampler = {{"temperature", 1.0}}, .file = file});
  const auto mismatch = code([&] {
    ReferenceCache(policy, TokenSum{}, prompts, {.samples = 4, .key = {}, .sampler = {{"temperature", 0.5}}, .file = file});
  });
  has(mismatch, "sampler_mismatch");
  has(mismatch, "temperature = 1.0");
  write(folder / "text.jsonl", "{\"prompt\":\"prompt 0\",\"responses\":[\"x\"],\"rewards\":[1]}\n");
  has(code([&] { (void)ReferenceCache::load(folder / "text.jsonl").batch(std::span(prompts).first(1)); }), "no tokens");
}
}  // namespace vbon::test

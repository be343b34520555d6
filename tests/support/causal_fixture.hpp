// Recorded batches of causal language models: padded rows become ragged sequences, each alone or together.
#pragma once
#include <string>
#include <vector>

#include "support/checkpoint_fixture.hpp"
#include "vbon/model/causal_lm.hpp"
#include "vbon/policy/causal_lm_policy.hpp"

namespace vbon::test {
/// The real tokens of a padded batch [B, T], and where they stand in it.
struct PaddedRows {
  std::vector<std::vector<TokenId>> token;      // per row
  std::vector<std::vector<std::size_t>> place;  // per row: row * T + column
  std::size_t columns = 0;
};

inline PaddedRows read_rows(const Tensors& tensors, const std::string& ids_name, const std::string& mask_name) {
  PaddedRows rows;
  const auto ids = tensors.integers(ids_name), mask = tensors.integers(mask_name);
  rows.columns = static_cast<std::size_t>(tensors.shape(ids_name).at(1));
  for (std::size_t at = 0; at < ids.size(); ++at) {
    if (at % rows.columns == 0) {
      rows.token.emplace_back();
      rows.place.emplace_back();
    }
    if (mask[at] == 0) continue;
    rows.token.back().push_back(static_cast<TokenId>(ids[at]));
    rows.place.back().push_back(at);
  }
  return rows;
}

/// The recorded values [B, T, width] at the real tokens, in our order.
inline std::vector<float> at_real_tokens(const Tensors& tensors, const std::string& name, const PaddedRows& rows) {
  const auto all = tensors.floats(name);
  const std::size_t width = all.size() / (rows.token.size() * rows.columns);
  std::vector<float> real;
  for (const auto& row : rows.place)
    for (const std::size_t at : row)
      real.insert(real.end(), all.begin() + static_cast<std::ptrdiff_t>(at * width),
                  all.begin() + static_cast<std::ptrdiff_t>((at + 1) * width));
  return real;
}

inline std::vector<float> flat(View<const float> values) { return {values.begin(), values.end()}; }

/// Every sequence as a segment; every token after the first is read.
inline model::Forest forest_of(const std::vector<std::vector<TokenId>>& rows) {
  model::Forest forest;
  for (const auto& row : rows) {
    const Index number = forest.add(row);
    const Index begin = forest.segment[static_cast<std::size_t>(number)].begin;
    for (std::size_t t = 1; t < row.size(); ++t) forest.read(begin + static_cast<Index>(t) - 1, row[t]);
  }
  return forest;
}

inline std::vector<Prompt> prompts_of(const std::vector<std::vector<TokenId>>& rows) {
  std::vector<Prompt> prompts;
  for (const auto& row : rows) prompts.push_back({.id = prompts.size(), .text = {}, .tokens = row});
  return prompts;
}

/// Values of the flat buffer (parameters or gradients) under checkpoint names, in checkpoint layout.
inline std::vector<NamedValues> named(const model::CausalLm& model, View<const float> buffer) {
  std::vector<NamedValues> all;
  for (std::size_t i = 0; i < model.parameters().list().size(); ++i) {
    const auto& p = model.parameters().list()[i];
    std::vector<float> stored(static_cast<std::size_t>(p.size()));
    model::arrange_back(model.network().stored[i].arrangement, View<const float>(buffer.data() + p.offset, p.rows, p.cols),
                        View<float>(stored.data(), p.rows, p.cols));
    all.push_back({p.name, std::move(stored)});
  }
  return all;
}

/// How near a gradient in bfloat16 is to one in float.
struct GradientAgreement {
  double cosine = 0, relative_error = 0;
};
inline GradientAgreement agreement(std::span<const float> got, std::span<const float> want) {
  double dot = 0, of_got = 0, of_want = 0, difference = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const auto a = static_cast<double>(got[i]), b = static_cast<double>(want[i]);
    dot += a * b;
    of_got += a * a;
    of_want += b * b;
    difference += (a - b) * (a - b);
  }
  return {dot / std::sqrt(of_got * of_want), std::sqrt(difference / of_want)};
}

/// Greedy continuations on the sampler of a policy.
inline RolloutBatch greedy(policy::CausalLmPolicy<>& policy, const std::vector<std::vector<TokenId>>& rows, Index tokens,
                           std::vector<TokenId> eos = {}) {
  policy.sampler = {.temperature = 0, .max_new_tokens = tokens, .eos = std::move(eos)};
  return policy.sample(prompts_of(rows), 1, {});
}

/// Ids equal the recorded ones up to the first place where the recorded margin is too small to tell.
inline void check_ids(Report& report, std::span<const TokenId> got, const std::vector<std::int64_t>& want,
                      const std::vector<double>& margin, double least, const std::string& what) {
  for (std::size_t t = 0; t < want.size(); ++t) {
    if (t < margin.size() && margin[t] < least) return;
    if (!report.check(t < got.size() && got[t] == want[t], what, ": token ", t, " is ", t < got.size() ? got[t] : -1,
                      ", expected ", want[t]))
      return;
  }
}
}  // namespace vbon::test

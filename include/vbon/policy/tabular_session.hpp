// vbon/policy/tabular_session.hpp
//
// A tabular policy driven step by step: the interface of a language model's session, with exact laws. The
// draw for (prompt id, sample, position) is key.fold(id).fold(sample).uniform(position) in both.
#pragma once
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/random.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/data/prompt.hpp"
#include "vbon/policy/draft.hpp"

namespace vbon::policy {
/// @tparam Table  a BasicTabularPolicy; it must outlive the session
template <class Table>
class TabularSession {
 public:
  TabularSession(const Table& table, std::span<const Prompt> prompts, std::vector<Index> rows, Index samples)
      : table_(&table),
        prompts_(prompts.begin(), prompts.end()),
        rows_(std::move(rows)),
        next_sample_(prompts.size(), samples) {
    require<DomainError>(samples >= 0, "TabularSession: samples >= 0 expected, got ", samples);
    for (std::size_t p = 0; p < prompts.size(); ++p)
      for (Index sample = 0; sample < samples; ++sample)
        drafts_.push_back({.prompt = static_cast<Index>(p), .sample = sample});
  }

  std::span<const Prompt> prompts() const { return prompts_; }
  const std::vector<Draft>& drafts() const { return drafts_; }
  /// The table says which responses are complete: there is no limit and no token that ends one.
  Index room() const { return std::numeric_limits<Index>::max(); }
  std::span<const TokenId> end_tokens() const { return {}; }
  std::vector<Index> live() const {
    std::vector<Index> numbers;
    for (std::size_t i = 0; i < drafts_.size(); ++i)
      if (drafts_[i].live) numbers.push_back(static_cast<Index>(i));
    return numbers;
  }

  void extend(Index tokens, RngKey key) {
    for (Draft& draft : drafts_) {
      const RngKey stream =
          key.fold(prompts_[static_cast<std::size_t>(draft.prompt)].id).fold(static_cast<std::uint64_t>(draft.sample));
      for (Index round = 0; round < tokens && draft.live; ++round) {
        const Array next = next_of(draft);
        push(draft, Table::pick(next, stream.uniform(draft.token.size())), next);
      }
    }
  }
  void append(std::span<const TokenId> tokens) {
    const std::vector<Index> numbers = live();
    require<ShapeError>(tokens.size() == numbers.size(), "TabularSession::append: ", numbers.size(),
                        " tokens expected, got ", tokens.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      Draft& draft = drafts_[static_cast<std::size_t>(numbers[i])];
      push(draft, tokens[i], next_of(draft));
    }
  }
  Tensor<float> next_log_probs() const {
    const std::vector<Index> numbers = live();
    Tensor<float> out(static_cast<Index>(numbers.size()), table_->vocab_size());
    for (std::size_t i = 0; i < numbers.size(); ++i)
      out.row(static_cast<Index>(i)).matrix() =
          next_of(drafts_[static_cast<std::size_t>(numbers[i])]).matrix().transpose().template cast<float>();
    return out;
  }
  void keep(std::span<const Index> numbers) {
    std::vector<Draft> kept;
    std::vector<char> taken(drafts_.size(), 0);
    for (const Index number : numbers) {
      require<ShapeError>(number >= 0 && number < static_cast<Index>(drafts_.size()), "TabularSession::keep: draft ", number,
                          " of ", drafts_.size());
      const auto i = static_cast<std::size_t>(number);
      kept.push_back(drafts_[i]);
      if (taken[i]) kept.back().sample = next_sample_[static_cast<std::size_t>(drafts_[i].prompt)]++;
      taken[i] = 1;
    }
    drafts_ = std::move(kept);
  }

 private:
  Array next_of(const Draft& draft) const {
    return table_->next_log_probs(rows_[static_cast<std::size_t>(draft.prompt)], draft.token);
  }
  void push(Draft& draft, TokenId token, const Array& next) {
    require<DomainError>(token >= 0 && token < next.size(), "TabularSession: token in [0, ", next.size(), ") expected, got ",
                         token);
    draft.token.push_back(token);
    draft.log_prob.push_back(next[token]);
    draft.finished = table_->complete(draft.token);
    draft.live = !draft.finished;
  }

  const Table* table_;
  std::vector<Prompt> prompts_;
  std::vector<Index> rows_;  // [P] of the table
  std::vector<Draft> drafts_;
  std::vector<Index> next_sample_;  // [P] first unused sample number
};
}  // namespace vbon::policy

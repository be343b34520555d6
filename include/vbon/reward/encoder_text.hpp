// vbon/reward/encoder_text.hpp
//
// Text for an encoder: tokens cut to what the model was made for, in batches of sequences of like length.
// How texts fall into batches never changes their result, because sequences do not see each other.
#pragma once
#include <algorithm>
#include <filesystem>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/io/json.hpp"
#include "vbon/model/encoder_input.hpp"
#include "vbon/parallel/parallel_for.hpp"
#include "vbon/text/tokenizer.hpp"

namespace vbon::reward {
class EncoderText {
 public:
  /// Texts go through the network together up to this, a longer one alone: few enough that what a layer makes of them
  /// stays in the second-level cache of the thread that has them.
  static constexpr Index batch_tokens = 128;

  /// Reads FOLDER/tokenizer.json. Texts are cut to the least of what the position table serves, what the
  /// tokenizer's file says and max_seq_length of FOLDER/sentence_bert_config.json.
  template <class = void>
  EncoderText(const std::filesystem::path& folder, const model::EncoderShape& shape)
      : tokenizer_(text::Tokenizer::from_json(folder / "tokenizer.json")),
        truncation_(tokenizer_.truncation().value_or(text::Truncation{})) {
    auto longest = static_cast<std::size_t>(shape.max_length());
    if (tokenizer_.truncation()) longest = std::min(longest, truncation_.max_length);
    if (const auto path = folder / "sentence_bert_config.json"; std::filesystem::exists(path)) {
      const io::Json settings = io::read_json(path);
      longest = std::min(longest, io::json_get_or<std::size_t>(settings, "max_seq_length", longest, path.string()));
    }
    truncation_.max_length = longest;
    require<ConfigError>(tokenizer_.vocab_size() <= shape.vocabulary, folder.string(), ": the tokenizer has ids up to ",
                         tokenizer_.vocab_size() - 1, ", the encoder a vocabulary of ", shape.vocabulary,
                         "; they do not belong together");
  }

  const text::Tokenizer& tokenizer() const { return tokenizer_; }
  Index max_length() const { return static_cast<Index>(truncation_.max_length); }

  template <class = void>
  std::vector<TokenId> tokens(const std::string& text) const {
    return tokenizer_.encode_batch(std::span(&text, 1), {.truncation = truncation_})[0].ids;
  }

  /// Calls visit(input, which, memory) with batches of about `batch_tokens` tokens; which[i] is the text of sequence i. Each
  /// thread takes batches of its own and has a Memory of its own, made for this call; fewer batches than half the threads
  /// come one after another, and all threads work on each.
  template <class Memory, class Visit>
  void for_each_batch(std::span<const std::string> texts, const Visit& visit) const {
    std::vector<std::vector<TokenId>> token(texts.size());
    parallel_for(static_cast<Index>(texts.size()), 16, [&](Index begin, Index end) {
      for (Index i = begin; i < end; ++i) token[static_cast<std::size_t>(i)] = tokens(texts[static_cast<std::size_t>(i)]);
    });
    std::vector<std::size_t> order(texts.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return token[a].size() > token[b].size(); });
    struct Batch {
      model::EncoderInput input;
      std::vector<std::size_t> which;
    };
    std::vector<Batch> batches;
    for (const std::size_t i : order) {
      if (batches.empty() || batches.back().input.tokens() + static_cast<Index>(token[i].size()) > batch_tokens)
        batches.emplace_back();
      batches.back().input.add(token[i]);
      batches.back().which.push_back(i);
    }
    const auto count = static_cast<Index>(batches.size());
    std::mutex mutex;
    std::vector<std::unique_ptr<Memory>> idle;
    const bool apart = 2 * count >= thread_pool().threads();
    parallel_for(count, apart ? 1 : count, [&](Index begin, Index end) {
      std::unique_ptr<Memory> memory;
      {
        const std::lock_guard lock(mutex);
        if (!idle.empty()) {
          memory = std::move(idle.back());
          idle.pop_back();
        }
      }
      if (memory == nullptr) memory = std::make_unique<Memory>();
      for (Index i = begin; i < end; ++i) {
        const Batch& batch = batches[static_cast<std::size_t>(i)];
        visit(batch.input, batch.which, *memory);
      }
      const std::lock_guard lock(mutex);
      idle.push_back(std::move(memory));
    });
  }

 private:
  text::Tokenizer tokenizer_;
  text::Truncation truncation_;
};
}  // namespace vbon::reward

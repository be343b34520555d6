// vbon/model/kv_cache.hpp
//
// Keys and values of the positions already computed, in pages that sequences share. A prompt's page
// belongs to all of its responses; a copy of a sequence (a kept beam) shares every page so far. Pages are
// counted by their owners and go back to the pool with the last one; a page with several owners is never
// written, the next position opens a page of its own.
#pragma once
#include <algorithm>
#include <memory>
#include <mutex>
#include <vector>

#include "vbon/core/device.hpp"
#include "vbon/core/tensor.hpp"
#include "vbon/kernel/attention.hpp"

namespace vbon::model {
/// Keys and values of all layers for up to `capacity` consecutive positions.
template <Device D = Cpu>
class KvPage {
 public:
  KvPage(Index layers, Index capacity, Index width)
      : capacity_(capacity), width_(width), values_(2 * layers * capacity, width) {}
  Index capacity() const { return capacity_; }
  Index bytes() const { return values_.size() * static_cast<Index>(sizeof(float)); }
  float* key(Index layer, Index row) { return at(2 * layer, row); }
  float* value(Index layer, Index row) { return at(2 * layer + 1, row); }

 private:
  float* at(Index plane, Index row) { return values_.data() + (plane * capacity_ + row) * width_; }

  Index capacity_;
  Index width_;
  Tensor<float, D> values_;  // [layers][key, value][capacity][width]
};

/// Hands out pages and keeps the returned ones of the usual size for the next use.
template <Device D = Cpu>
class KvPool {
 public:
  static constexpr Index page_rows = 16;

  KvPool(Index layers, Index width) : state_(std::make_shared<State>()), layers_(layers), width_(width) {}

  /// A page for exactly `rows` positions, or one of the usual size when rows = page_rows.
  std::shared_ptr<KvPage<D>> take(Index rows = page_rows) {
    std::unique_ptr<KvPage<D>> page;
    if (rows == page_rows) {
      const std::lock_guard lock(state_->mutex);
      if (!state_->free.empty()) {
        page = std::move(state_->free.back());
        state_->free.pop_back();
      }
    }
    if (!page) page = std::make_unique<KvPage<D>>(layers_, rows, width_);
    return {page.release(), [state = std::weak_ptr<State>(state_)](KvPage<D>* used) {
              std::unique_ptr<KvPage<D>> owned(used);
              if (owned->capacity() != page_rows) return;
              if (const auto pool = state.lock()) {
                const std::lock_guard lock(pool->mutex);
                pool->free.push_back(std::move(owned));
              }
            }};
  }
  /// Frees the pages that nobody uses.
  void trim() {
    const std::lock_guard lock(state_->mutex);
    state_->free.clear();
  }

 private:
  struct State {
    std::mutex mutex;
    std::vector<std::unique_ptr<KvPage<D>>> free;
  };
  std::shared_ptr<State> state_;
  Index layers_;
  Index width_;
};

/// One sequence's view of the cache: pages and how many rows of each it sees. A value; copies share pages.
template <Device D = Cpu>
class KvSequence {
 public:
  Index length() const { return length_; }

  /// Adds a full page of `rows` positions (a prefilled prompt).
  void append_page(std::shared_ptr<KvPage<D>> page, Index rows) {
    parts_.push_back({std::move(page), rows});
    length_ += rows;
  }
  /// Makes room for one more position; write its key and value through next_key and next_value.
  void append_row(KvPool<D>& pool) {
    if (parts_.empty() || parts_.back().rows == parts_.back().page->capacity() || parts_.back().page.use_count() > 1)
      parts_.push_back({pool.take(), 0});
    ++parts_.back().rows;
    ++length_;
  }
  float* last_key(Index layer) { return parts_.back().page->key(layer, parts_.back().rows - 1); }
  float* last_value(Index layer) { return parts_.back().page->value(layer, parts_.back().rows - 1); }

  /// Appends this sequence's rows of one layer, oldest first.
  void spans(Index layer, std::vector<kernel::KvSpan>& out) const {
    for (const Part& part : parts_) out.push_back({part.page->key(layer, 0), part.page->value(layer, 0), part.rows});
  }

 private:
  struct Part {
    std::shared_ptr<KvPage<D>> page;
    Index rows;
  };
  std::vector<Part> parts_;
  Index length_ = 0;
};
}  // namespace vbon::model

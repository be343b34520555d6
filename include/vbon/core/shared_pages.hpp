// vbon/core/shared_pages.hpp
//
// Memory for arrays of some hundred kilobytes that live long and are read from end to end, such as packed weights. One of
// these alone gets small pages, and whoever reads it misses the table of pages at each: half the speed of memory where
// that is fast. Here they lie one behind the other in huge pages.
#pragma once
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>

namespace vbon::detail {
inline constexpr std::size_t huge_page = std::size_t{2} << 20;

/// Asks for huge pages. A wish: refusal changes nothing.
inline void wish_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) {
#if defined(__linux__)
  ::madvise(memory, bytes, MADV_HUGEPAGE);
#endif
}

/// A stretch of memory that arrays are cut from in order. It goes back to the system with the last of them; the one that is
/// cut from begins anew when it holds none.
class SharedPages {
 public:
  static constexpr std::size_t size = 16 * huge_page;
  static constexpr std::size_t smallest = std::size_t{64} << 10, largest = 2 * huge_page;  // of an array

  /// `bytes` of zeros, from `smallest` on and below `largest`, at the beginning of a cache line.
  template <class = void>
  static std::shared_ptr<void> take(std::size_t bytes) {
    bytes = (bytes + 63) / 64 * 64;
    std::shared_ptr<SharedPages> from;
    std::byte* begin = nullptr;
    {
      Open& open = opened();
      const std::lock_guard lock(open.mutex);
      if (!open.pages || open.pages->used_ + bytes > size) open.pages = std::make_shared<SharedPages>();
      from = open.pages;
      begin = from->first_ + from->used_;
      if (from->used_ < from->written_) std::memset(begin, 0, std::min(bytes, from->written_ - from->used_));
      from->used_ += bytes;
      from->written_ = std::max(from->written_, from->used_);
      ++from->arrays_;
    }
    return {begin, [from](void*) {
              const std::lock_guard lock(opened().mutex);
              if (--from->arrays_ == 0) from->used_ = 0;
            }};
  }

  SharedPages() : memory_(std::calloc(size + huge_page, 1)) {
    if (memory_ == nullptr) throw std::bad_alloc();
    void* first = memory_;
    std::size_t room = size + huge_page;
    std::align(huge_page, size, first, room);
    wish_huge_pages(first, size);
    first_ = static_cast<std::byte*>(first);
  }
  SharedPages(const SharedPages&) = delete;
  SharedPages& operator=(const SharedPages&) = delete;
  ~SharedPages() { std::free(memory_); }

 private:
  struct Open {
    std::mutex mutex;
    std::shared_ptr<SharedPages> pages;
  };
  /// Never destroyed: arrays that live to the end of the program return what they have.
  static Open& opened() {
    static Open& one = *new Open;
    return one;
  }

  void* memory_;
  std::byte* first_ = nullptr;
  std::size_t used_ = 0;     // given out, from the first byte on
  std::size_t written_ = 0;  // not zero any more, perhaps
  std::size_t arrays_ = 0;
};
}  // namespace vbon::detail

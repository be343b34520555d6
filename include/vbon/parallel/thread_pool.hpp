// vbon/parallel/thread_pool.hpp
//
// A small persistent pool. Work is cut into chunks whose bounds depend on the problem alone; threads
// take chunks in any order, so a result that is a function of its chunk is the same on any number of
// threads. Idle workers spin for a bounded time (regions follow each other within microseconds in a
// transformer layer), then sleep.
#pragma once
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"

namespace vbon {
/// Processors this process may run on (its affinity mask, not the machine's size).
inline int available_threads() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

class ThreadPool {
 public:
  /// @param threads  threads that work on a region, the calling one included [>= 1]
  /// @throws ConfigError  threads < 1, or more than this process may start
  template <class = void>
  explicit ThreadPool(int threads = available_threads()) {
    require<ConfigError>(threads >= 1, "threads >= 1 expected, got ", threads);
    try {
      for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error& error) {  // no destructor runs, and the workers that stand wait
      const auto started = workers_.size() + 1;
      shut_down();
      throw ConfigError(message("cannot start ", threads, " threads, only ", started, ": ", error.what(),
                                "; use fewer threads or raise the limit of processes (ulimit -u)"));
    } catch (...) {
      shut_down();
      throw;
    }
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() { shut_down(); }

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Runs body(chunk) once for each chunk in [0, chunks). A region inside a region runs on the calling
  /// thread alone. The first exception (lowest chunk seen) is thrown here once all chunks are done.
  template <class Body>
  void run(Index chunks, const Body& body) {
    if (chunks <= 0) return;
    if (chunks == 1 || workers_.empty() || inside_region()) {
      for (Index chunk = 0; chunk < chunks; ++chunk) body(chunk);
      return;
    }
    const std::lock_guard region(region_);
    task_.body = [](const void* erased, Index chunk) { (*static_cast<const Body*>(erased))(chunk); };
    task_.object = &body;
    task_.chunks = chunks;
    task_.next.store(0, std::memory_order_relaxed);
    task_.failure = nullptr;
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    {
      const std::lock_guard lock(mutex_);
      epoch_.fetch_add(1, std::memory_order_release);
    }
    if (sleepers_.load(std::memory_order_seq_cst) > 0) wake_.notify_all();
    drain();
    for (int spin = 0; busy_.load(std::memory_order_acquire) > 0;) relax(spin);
    if (task_.failure) std::rethrow_exception(std::exchange(task_.failure, nullptr));
  }

 private:
  struct Task {
    void (*body)(const void*, Index) = nullptr;
    const void* object = nullptr;
    Index chunks = 0;
    alignas(64) std::atomic<Index> next{0};
    std::mutex failure_mutex;
    std::exception_ptr failure;
  };

  void shut_down() {
    {
      const std::lock_guard lock(mutex_);
      stop_.store(true, std::memory_order_relaxed);
      epoch_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (auto& worker : workers_) worker.join();
  }

  static bool& inside_region() {
    thread_local bool inside = false;
    return inside;
  }
  static void relax(int& spin) {
    if (++spin < 2000) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
    } else {
      std::this_thread::yield();
    }
  }

  void drain() {
    inside_region() = true;
    for (;;) {
      const Index chunk = task_.next.fetch_add(1, std::memory_order_relaxed);
      if (chunk >= task_.chunks) break;
      try {
        task_.body(task_.object, chunk);
      } catch (...) {
        const std::lock_guard lock(task_.failure_mutex);
        if (!task_.failure) task_.failure = std::current_exception();
      }
    }
    inside_region() = false;
  }

  void work() {
    unsigned seen = 0;
    for (;;) {
      for (int spin = 0; epoch_.load(std::memory_order_acquire) == seen && spin < 4000;) {
        ++spin;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
      }
      if (epoch_.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex_);
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        wake_.wait(lock, [&] { return epoch_.load(std::memory_order_acquire) != seen; });
        sleepers_.fetch_sub(1, std::memory_order_seq_cst);
      }
      seen = epoch_.load(std::memory_order_acquire);
      if (stop_.load(std::memory_order_relaxed)) return;
      drain();
      busy_.fetch_sub(1, std::memory_order_release);
    }
  }

  std::vector<std::thread> workers_;
  std::mutex region_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> epoch_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<int> busy_{0};
  std::atomic<bool> stop_{false};
  Task task_;
};
}  // namespace vbon

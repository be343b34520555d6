#include "vbon/parallel/parallel_for.hpp"

#include <sys/resource.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "support/catch.hpp"

TEST_CASE("every index is visited once, on any number of threads", "[parallel]") {
  for (const int threads : {1, 2, 4}) {
    vbon::set_threads(threads);
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::vector<int> visits(997);
      vbon::parallel_for(997, 10, [&](vbon::Index begin, vbon::Index end) {
        for (auto i = begin; i < end; ++i) ++visits[static_cast<std::size_t>(i)];
      });
      REQUIRE(std::all_of(visits.begin(), visits.end(), [](int v) { return v == 1; }));
    }
  }
}

TEST_CASE("chunk bounds do not depend on the number of threads", "[parallel]") {
  const auto sums = [](int threads) {
    vbon::set_threads(threads);
    std::vector<float> partial(100);
    vbon::parallel_for(10000, 100, [&](vbon::Index begin, vbon::Index end) {
      float sum = 0;
      for (auto i = begin; i < end; ++i) sum += std::sin(static_cast<float>(i));
      partial[static_cast<std::size_t>(begin / 100)] = sum;
    });
    return partial;
  };
  CHECK(sums(1) == sums(3));
}

TEST_CASE("an exception in a chunk reaches the caller and the pool stays usable", "[parallel][error]") {
  vbon::set_threads(2);
  CHECK_THROWS_AS(vbon::parallel_for(10, 1,
                                     [](vbon::Index begin, vbon::Index) {
                                       vbon::require<vbon::RunError>(begin != 7, "chunk 7");
                                     }),
                  vbon::RunError);
  int count = 0;
  vbon::parallel_for(1, 1, [&](vbon::Index, vbon::Index) { ++count; });
  CHECK(count == 1);
}

TEST_CASE("a region inside a region runs where it stands", "[parallel]") {
  vbon::set_threads(2);
  std::atomic<int> visits{0};
  vbon::parallel_for(4, 1, [&](vbon::Index, vbon::Index) {
    vbon::parallel_for(5, 1, [&](vbon::Index, vbon::Index) { ++visits; });
  });
  CHECK(visits == 20);
}

TEST_CASE("more threads than the process may start are refused, and those that started end", "[parallel][error]") {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // a sanitizer cannot live under such a limit
  rlimit before{};
  ::getrlimit(RLIMIT_AS, &before);
  rlimit limit = before;  // each thread takes 8 MB of address space for its stack
  limit.rlim_cur = rlim_t{1} << 30;
  REQUIRE(::setrlimit(RLIMIT_AS, &limit) == 0);
  CHECK_THROWS_WITH(vbon::ThreadPool(1000), Catch::Contains("cannot start 1000 threads"));
  REQUIRE(::setrlimit(RLIMIT_AS, &before) == 0);
#endif
  CHECK(vbon::ThreadPool(3).threads() == 3);
}

TEST_CASE("zero threads are refused", "[parallel][error]") { CHECK_THROWS_AS(vbon::set_threads(0), vbon::ConfigError); }

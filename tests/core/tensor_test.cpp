#include "vbon/core/tensor.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "vbon/core/random.hpp"

namespace vbon {
namespace {
bool zero(View<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return value == 0; });
}
bool aligned(const Tensor<float>& tensor) { return reinterpret_cast<std::uintptr_t>(tensor.data()) % 64 == 0; }
void fill(Tensor<float>& tensor, float value) { std::fill_n(tensor.data(), tensor.size(), value); }
}  // namespace

TEST_CASE("a tensor is zeroed and aligned, wherever its memory comes from", "[core][tensor]") {
  for (const Pages pages : {Pages::own, Pages::shared})
    for (const Index size : {1, 17, 16'383, 16'384, 20'001, 500'000, 1'048'576, 3'000'000}) {
      const Tensor<float> tensor(size, pages);
      INFO(size);
      CHECK(tensor.size() == size);
      CHECK(zero(tensor));
      CHECK(aligned(tensor));
    }
  CHECK(Tensor<float>(0, Pages::shared).empty());
  CHECK_THROWS_AS(Tensor<float>(-1, Pages::shared), ShapeError);
  CHECK_THROWS_AS(Tensor<float>(2, -1), ShapeError);
}

TEST_CASE("a copied tensor is its own, a moved one is empty", "[core][tensor]") {
  Tensor<float> first(20'000, Pages::shared);
  fill(first, 3);
  Tensor<float> copy = first;
  fill(first, 4);
  CHECK(copy[19'999] == 3);
  const float* place = first.data();
  const Tensor<float> moved = std::move(first);
  CHECK(moved.data() == place);
  CHECK(first.size() == 0);  // NOLINT(bugprone-use-after-move): that it is empty is what is tested
}

TEST_CASE("tensors in shared pages hold what they are given while others come and go", "[core][tensor]") {
  std::vector<std::pair<Tensor<float>, float>> held;
  const RngKey key{3, 1};
  for (std::uint64_t step = 0; step < 400; ++step) {
    const auto size = static_cast<Index>(16'384 + key.fold(1).below(step, 200'000));
    Tensor<float> tensor(size, Pages::shared);
    REQUIRE(zero(tensor));
    fill(tensor, static_cast<float>(step + 1));
    held.emplace_back(std::move(tensor), static_cast<float>(step + 1));
    if (held.size() > 100) held.erase(held.begin() + static_cast<std::ptrdiff_t>(key.fold(2).below(step, held.size())));
    if (step % 150 == 149) held.clear();  // all go back: the pages begin anew
  }
  for (const auto& [tensor, value] : held)
    CHECK(std::all_of(tensor.view().begin(), tensor.view().end(), [value = value](float one) { return one == value; }));
}

TEST_CASE("threads take and return shared pages at once", "[core][tensor]") {
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (std::size_t thread = 0; thread < wrong.size(); ++thread)
    threads.emplace_back([&wrong, thread] {
      for (int step = 0; step < 60; ++step) {
        Tensor<float> tensor(30'000, Pages::shared);
        wrong[thread] += !zero(tensor);
        fill(tensor, static_cast<float>(thread + 1));
        wrong[thread] +=
            std::count(tensor.view().begin(), tensor.view().end(), static_cast<float>(thread + 1)) != tensor.size();
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(wrong.size()));
}
}  // namespace vbon

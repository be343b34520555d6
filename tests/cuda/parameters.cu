// The memory of a network on a device: its parameters and gradients, activations and the cache of keys and values. Built by
// nvcc; without a device it ends with 77.
#include <algorithm>
#include <cstdio>
#include <span>
#include <type_traits>
#include <vector>

#include "vbon/core/cuda/tensor.cuh"
#include "vbon/kernel/packed_matrix.hpp"
#include "vbon/model/activations.hpp"
#include "vbon/model/kv_cache.hpp"
#include "vbon/model/parameters.hpp"

namespace {
using namespace vbon;

// Memory of a device does not pass for memory of the host, nor the other way round.
static_assert(!std::is_convertible_v<View<float, Cuda>, View<float>> &&
              !std::is_convertible_v<View<float>, View<float, Cuda>>);
static_assert(!std::is_constructible_v<View<float, Cuda>, std::span<float>>);
static_assert(!std::is_convertible_v<View<float, Cuda>, std::span<float>>);

bool is(const char* what, const Tensor<float>& got, const std::vector<float>& expected) {
  const bool same = std::equal(got.view().begin(), got.view().end(), expected.begin(), expected.end());
  std::printf("%s: %s\n", what, same ? "as on the Cpu" : "DIFFERS");
  return same;
}
Tensor<float> host(View<const float, Cuda> there) {
  Tensor<float> here(there.rows(), there.cols());
  transfer(there, here.view());
  return here;
}

/// Two tensors of 2 x 2 and 3 values, filled with 1, 2, ..., the second of them when it is asked for.
template <Device D>
model::Parameters<D> two(bool lazy) {
  model::Parameters<D> parameters;
  parameters.add("a", {2, 2});
  parameters.add("b", {3});
  parameters.fill(
      [](Index number, View<float> place) {
        for (Index i = 0; i < place.size(); ++i) place[i] = static_cast<float>(4 * number + i + 1);
      },
      {false, lazy});
  return parameters;
}
}  // namespace

int main() {
  if (cuda::devices() == 0) {
    std::puts("skipped: no CUDA device");
    return 77;
  }
  bool good = true;
  for (const bool lazy : {false, true}) {
    model::Parameters<Cuda> there = two<Cuda>(lazy);
    good = there.is_complete() == !lazy && good;
    good = is("one tensor", host({there.at(0), 2, 2}), {1, 2, 3, 4}) && good;
    Tensor<float, Cuda> copy(there.size());
    there.copy_to(copy);
    good = is("a copy of all values", to_host(copy), {1, 2, 3, 4, 5, 6, 7}) && good;
    good = is("all values", host(there.values()), {1, 2, 3, 4, 5, 6, 7}) && good;

    good = is("gradients at first", host(there.gradients()), std::vector<float>(7)) && good;
    transfer(View<const float, Cuda>(there.values()), there.gradients());
    there.zero_gradients();
    // What is written without accumulating need not be zeroed, the rest is when it is looked at.
    there.add_to_gradient(there[1].offset, 1, 3, [&](View<float, Cuda> place, bool accumulate) {
      good = !accumulate && good;
      transfer(View<const float, Cuda>(there.value(1)), place);
    });
    good = is("gradients of one tensor", host(there.gradients()), {0, 0, 0, 0, 5, 6, 7}) && good;
    there.freeze_before(there[1].offset);
    good = is("what is trained", host(there.trained_values()), {5, 6, 7}) && good;
    model::Parameters<Cuda> other = there;
    kernel::set_zero(Cuda{}, there.values());
    good = is("a copy of its own", host(other.values()), {1, 2, 3, 4, 5, 6, 7}) && good;
  }

  model::BlockActivations<Cuda> kept;
  good = is("activations", host(kept.q.shaped(2, 3)), std::vector<float>(6)) && good;
  model::Scratch<Cuda> scratch;
  good = is("scratch", host(scratch.activated.shaped(1, 2)), std::vector<float>(2)) && good;
  kernel::PackedMatrix<float, Cuda> packed(3, 2);
  good = is("a packed weight", host({packed.panel(0), 1, packed.panel_size()}), std::vector<float>(64)) && good;
  model::KvPool<Cuda> pool(2, 4);
  model::KvSequence<Cuda> sequence;
  sequence.append_row(pool);
  const Tensor<float, Cuda> key = [] {
    Tensor<float> values(4);
    for (Index i = 0; i < 4; ++i) values[i] = static_cast<float>(i);
    return to_device(values);
  }();
  transfer(key.view(), View<float, Cuda>(sequence.last_key(1), 4));
  std::vector<kernel::KvSpan> spans;
  sequence.spans(1, spans);
  good = is("a cached key", host({spans.at(0).key, 1, 4}), {0, 1, 2, 3}) && good;
  const float* page = spans.at(0).key;
  sequence = {};
  sequence.append_row(pool);  // the page that came back
  spans.clear();
  sequence.spans(1, spans);
  good = spans.at(0).key == page && good;
  return good ? 0 : 1;
}

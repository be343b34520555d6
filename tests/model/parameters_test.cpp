#include "vbon/model/parameters.hpp"

#include "kernel/support.hpp"

namespace vbon::test {
namespace {
using model::Parameters;

/// Three matrices, the second of which two maps share by halves.
Parameters<> three() {
  Parameters<> parameters;
  parameters.add("a", {3, 4});
  parameters.add("b", {6, 5});
  parameters.add("c", {7});
  parameters.gradients();
  return parameters;
}
/// Adds a number to a gradient as a product would: writes it where it may.
bool add(Parameters<>& parameters, Index offset, Index rows, Index cols, float value) {
  bool added = false;
  parameters.add_to_gradient(offset, rows, cols, [&](View<float> place, bool accumulate) {
    added = accumulate;
    for (float& g : place) g = accumulate ? g + value : value;
  });
  return added;
}
}  // namespace

TEST_CASE("zero gradients are written over by the first addition and read as zeros elsewhere", "[model][parameters]") {
  Parameters<> parameters = three();
  for (float& g : parameters.gradients()) g = 99;
  parameters.zero_gradients();
  CHECK_FALSE(add(parameters, 12, 3, 5, 2));  // the first half of b
  CHECK(add(parameters, 12, 3, 5, 3));
  CHECK_FALSE(add(parameters, 27, 3, 5, 4));  // the second
  CHECK(parameters.gradient(2).array().abs().maxCoeff() == 0);
  CHECK(add(parameters, 42, 1, 7, 1));  // was looked at
  const View<const float> all = parameters.gradients();
  for (Index i = 0; i < all.size(); ++i) CHECK(all[i] == (i < 12 ? 0 : i < 27 ? 5 : i < 42 ? 4 : 1));
}

TEST_CASE("gradients are what eager zeros would give, whatever is added and looked at", "[model][parameters][law]") {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Parameters<> lazy = three();
    const Index size = lazy.size();
    std::vector<float> eager(static_cast<std::size_t>(size));
    const RngKey key{seed, 5};
    auto below = [&, n = std::uint64_t{0}](Index count) mutable {
      return static_cast<Index>(key.uniform(n++) * static_cast<double>(count));
    };
    for (int i = 0; i < 30; ++i) {
      const Index begin = below(size), count = below(size - begin + 1);
      switch (below(5)) {
        case 0:
          lazy.zero_gradients();
          std::fill(eager.begin(), eager.end(), 0.0f);
          break;
        case 1:
          REQUIRE(
              std::equal(eager.begin() + begin, eager.begin() + begin + count, lazy.gradient_at(begin, 1, count).begin()));
          break;
        case 2: {
          Parameters<> copy = lazy;
          REQUIRE(std::equal(eager.begin(), eager.end(), copy.gradients().begin()));
          break;
        }
        default:
          add(lazy, begin, 1, count, static_cast<float>(i));
          for (Index j = begin; j < begin + count; ++j) eager[static_cast<std::size_t>(j)] += static_cast<float>(i);
      }
    }
    REQUIRE(std::equal(eager.begin(), eager.end(), lazy.gradients().begin()));
  }
}

TEST_CASE("an addition that fails leaves the gradient zero", "[model][parameters][error]") {
  Parameters<> parameters = three();
  for (float& g : parameters.gradients()) g = 99;
  parameters.zero_gradients();
  const auto fail = [](View<float> place, bool) {
    *place.begin() = 7;
    throw RunError("full");
  };
  CHECK_THROWS_AS(parameters.add_to_gradient(12, 6, 5, fail), RunError);
  CHECK(parameters.gradients().array().abs().maxCoeff() == 0);
}

TEST_CASE("frozen values have no gradient to add to", "[model][parameters]") {
  Parameters<> parameters = three();
  parameters.zero_gradients();
  parameters.freeze_before(12);
  parameters.add_to_gradient(0, 3, 4, [](View<float> place, bool) { CHECK(place.empty()); });
  CHECK(parameters.gradients().size() == parameters.size() - 12);
  CHECK(parameters.gradients().array().abs().maxCoeff() == 0);
  parameters.zero_gradients();
  CHECK_FALSE(add(parameters, 12, 6, 5, 1));
  CHECK(parameters.gradients().array().sum() == 30);
  parameters.freeze();
  parameters.zero_gradients();
  CHECK(parameters.gradients().empty());
}
}  // namespace vbon::test

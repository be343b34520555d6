// vbon/model/lora.hpp
//
// Low-rank adaptation: the weights W [out, in] of chosen linear maps stay as they are, and what is trained is
// a branch beside each, so that the map is W + scale B A with A [r, in] and B [out, r]. Names and shapes are
// those of peft's checkpoints. A checkpoint's linear map is one module with one A and one B, also where it
// holds q, k and v together.
// Sources: Hu et al., arXiv 2106.09685; scale alpha / sqrt(r): Kalajdzievski, "A rank stabilization scaling
// factor for fine-tuning with LoRA", arXiv 2312.03732.
#pragma once
#include <algorithm>
#include <cmath>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "vbon/core/random.hpp"
#include "vbon/model/network.hpp"

namespace vbon::model {
struct LoraOptions {
  Index rank = 8;  // r
  double alpha = 16;
  bool rank_stabilized = false;  // rsLoRA

  /// What B A is multiplied by.
  double scale() const {
    const auto r = static_cast<double>(rank);
    return alpha / (rank_stabilized ? std::sqrt(r) : r);
  }
  /// @throws ConfigError
  void check() const {
    require<ConfigError>(rank >= 1, "LoRA: rank >= 1 expected, got ", rank);
    require<ConfigError>(std::isfinite(alpha) && alpha > 0, "LoRA: alpha > 0 and finite expected, got ", alpha);
  }
};

/// A linear map of a checkpoint that can carry a branch.
struct LoraModule {
  std::string name;  // its weight's in the checkpoint, without ".weight"
  Index weight = 0;  // number of that weight among the base's parameters
  Index offset = 0;  // of its values in the base's buffer
  Index outputs = 0, inputs = 0;
  Arrangement rows;  // how the checkpoint orders the outputs, and so the rows of B

  bool holds(Index place) const { return place >= offset && place < offset + outputs * inputs; }
};

/// The linear maps of a network's blocks, in the order of the checkpoint: all but the head.
template <class = void>
std::vector<LoraModule> lora_modules(const Parameters<>& parameters, const Network& network) {
  constexpr Slot linear[] = {Slot::q, Slot::k, Slot::v, Slot::qkv, Slot::attention_out, Slot::gate, Slot::up, Slot::down};
  constexpr std::string_view ending = ".weight";
  std::vector<LoraModule> modules;
  for (std::size_t i = 0; i < network.stored.size(); ++i) {
    const StoredTensor& stored = network.stored[i];
    if (std::find(std::begin(linear), std::end(linear), stored.slot) == std::end(linear)) continue;
    const Parameter& p = parameters.list()[i];
    // A transposed weight has its outputs in order all the same.
    const Arrangement rows = stored.arrangement.how == Arrange::transposed ? Arrangement{} : stored.arrangement;
    modules.push_back({.name = p.name.substr(0, p.name.size() - ending.size()),
                       .weight = static_cast<Index>(i),
                       .offset = p.offset,
                       .outputs = p.rows,
                       .inputs = p.cols,
                       .rows = rows});
  }
  return modules;
}

/// The trainable part of an adapted model: A and B of every module in one flat buffer.
class LoraAdapter {
 public:
  /// All zeros: initialize() or fill parameters().
  /// @throws ConfigError for options out of range or no module
  template <class = void>
  LoraAdapter(std::vector<LoraModule> modules, LoraOptions options) : modules_(std::move(modules)), options_(options) {
    options_.check();
    require<ConfigError>(!modules_.empty(), "LoRA: at least one module to adapt expected");
    for (const LoraModule& m : modules_) {
      parameters_->add(m.name + ".lora_A.weight", {options_.rank, m.inputs});
      parameters_->add(m.name + ".lora_B.weight", {m.outputs, options_.rank});
    }
    parameters_->values();
  }
  /// An adapter of its own with the same numbers.
  template <class = void>
  LoraAdapter clone() const {
    LoraAdapter copy(modules_, options_);
    std::copy_n(parameters_->data(), parameters_->size(), copy.parameters_->values().data());
    return copy;
  }

  /// A uniform in +-1 / sqrt(inputs), B zero: the adapted model begins as its base.
  template <class = void>
  void initialize(RngKey key) {
    for (std::size_t i = 0; i < modules_.size(); ++i) {
      const View<float> a = parameters_->value(number_of_a(i));
      const double bound = 1 / std::sqrt(static_cast<double>(modules_[i].inputs));
      for (Index k = 0; k < a.size(); ++k)
        a[k] = static_cast<float>(bound * (2 * key.fold(i).uniform(static_cast<std::uint64_t>(k)) - 1));
      parameters_->value(number_of_b(i)).array() = 0;
    }
    changed();
  }

  const LoraOptions& options() const { return options_; }
  std::span<const LoraModule> modules() const { return modules_; }
  /// A and B of one module after the other. B's rows are in the order of the base's matrix.
  Parameters<>& parameters() { return *parameters_; }
  const Parameters<>& parameters() const { return *parameters_; }
  /// Where A and B of module i stand in parameters().list().
  static Index number_of_a(std::size_t i) { return 2 * static_cast<Index>(i); }
  static Index number_of_b(std::size_t i) { return 2 * static_cast<Index>(i) + 1; }

  /// Call after the parameters changed; renew() then packs them again.
  void changed() {
    packed_ = false;
    ++version_;
  }
  /// Counts the changes.
  std::uint64_t version() const { return version_; }
  template <class = void>
  void renew() {
    if (packed_) return;
    for (const auto& branch : branches_) branch->pack();
    packed_ = true;
  }

  /// Puts the branches beside the linear maps of a network, which the adapter must outlive.
  template <class = void>
  void connect(Network& network) {
    branches_.clear();
    network.for_each_linear([&](Linear& linear) {
      const auto module =
          std::find_if(modules_.begin(), modules_.end(), [&](const auto& m) { return m.holds(linear.place()); });
      if (module == modules_.end()) return;
      const auto i = static_cast<std::size_t>(module - modules_.begin());
      const Index row = (linear.place() - module->offset) / module->inputs;  // of q, k or v in one tensor
      const LowRank::Place place{.a = (*parameters_)[number_of_a(i)].offset,
                                 .b = (*parameters_)[number_of_b(i)].offset + row * options_.rank,
                                 .outputs = linear.outputs(),
                                 .inputs = linear.inputs(),
                                 .rank = options_.rank,
                                 .scale = static_cast<float>(options_.scale())};
      linear.set_branch(branches_.emplace_back(std::make_shared<LowRank>(*parameters_, *scratch_, place)));
    });
    changed();
  }

  /// The module whose weight is the base's parameter of this number, or null.
  const LoraModule* find(Index weight) const {
    for (const LoraModule& m : modules_)
      if (m.weight == weight) return &m;
    return nullptr;
  }
  /// w += scale B A, where the base's parameter of this number is adapted.
  /// @param w  [outputs, inputs] its values or a copy of them
  template <class = void>
  void merge(Index weight, View<float> w) const {
    const LoraModule* module = find(weight);
    if (module == nullptr) return;
    const auto i = static_cast<std::size_t>(module - modules_.data());
    const Parameters<>& values = *parameters_;
    kernel::PackedMatrix<float> a;
    kernel::pack(Cpu{}, values.value(number_of_a(i)), kernel::Transpose::yes, a);
    Tensor<float> b(module->outputs, options_.rank);
    b.view().array() = values.value(number_of_b(i)).array() * static_cast<float>(options_.scale());
    kernel::matmul(Cpu{}, b, a, w, {}, true);
  }

 private:
  std::vector<LoraModule> modules_;
  LoraOptions options_;
  // Behind pointers: the branches know where they are, and the adapter may move.
  std::unique_ptr<Parameters<>> parameters_ = std::make_unique<Parameters<>>();
  std::unique_ptr<LowRank::Scratch> scratch_ = std::make_unique<LowRank::Scratch>();
  std::vector<std::shared_ptr<LowRank>> branches_;
  std::uint64_t version_ = 0;
  bool packed_ = false;
};
}  // namespace vbon::model

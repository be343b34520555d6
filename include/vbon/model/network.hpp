// vbon/model/network.hpp
//
// Where everything lies: the parameters of a causal language model in one flat buffer, each tensor under
// its checkpoint name, and the matrices its blocks compute with as places in that buffer.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "vbon/model/arrange.hpp"
#include "vbon/model/family/concept.hpp"
#include "vbon/model/linear.hpp"
#include "vbon/model/parameters.hpp"
#include "vbon/model/shape.hpp"

namespace vbon::model {
/// A norm's weight and bias in the flat buffer; -1: none.
struct NormPlace {
  Index weight = -1, bias = -1;
  bool from_one = false;  // multiplies by 1 + weight
};

struct BlockPlaces {
  NormPlace attention_norm, mlp_norm;
  NormPlace q_norm, k_norm;  // [head_dim]
  Linear q, k, v, attention_out;
  Linear gate, up, down;  // a plain MLP has no gate
};

/// What a checkpoint calls one parameter and how it stores it.
struct StoredTensor {
  Slot slot;
  Index layer;
  Arrangement arrangement;       // in HF folders
  Arrangement gguf_arrangement;  // in GGUF files
};

struct Network {
  Index token_embedding = 0;      // [V, C]
  Index position_embedding = -1;  // [context, C], for learned positions
  std::vector<BlockPlaces> block;
  NormPlace final_norm;
  Linear head;                       // [V, C], or [labels, C] for a score head
  std::vector<StoredTensor> stored;  // one for each entry of Parameters::list()

  /// Calls f(linear) for every linear map.
  template <class F>
  void for_each_linear(F&& f) {
    for (BlockPlaces& b : block)
      for (Linear* linear : {&b.q, &b.k, &b.v, &b.attention_out, &b.gate, &b.up, &b.down})
        if (linear->exists()) f(*linear);
    f(head);
  }
};

namespace detail {
class NetworkBuilder {
 public:
  NetworkBuilder(const FamilyInfo& family, const Shape& shape, Parameters<>& parameters)
      : family_(family), s_(shape), parameters_(parameters) {}

  template <class = void>
  Network build() {
    network_.token_embedding = matrix(Slot::token_embedding, -1, s_.vocab, s_.width);
    if (s_.position == Position::learned)
      network_.position_embedding = matrix(Slot::position_embedding, -1, s_.context, s_.width);
    for (Index layer = 0; layer < s_.layers; ++layer) add_block(layer);
    network_.final_norm = norm(Slot::final_norm, Slot::final_norm_bias, -1);
    if (s_.labels > 0) {
      network_.head = Linear(s_.labels, s_.width, matrix(Slot::score, -1, s_.labels, s_.width), -1);
    } else {
      const Index table = s_.tied ? network_.token_embedding : matrix(Slot::head, -1, s_.vocab, s_.width);
      network_.head = Linear(s_.vocab, s_.width, table, -1);
    }
    return std::move(network_);
  }

 private:
  template <class = void>
  Index add(Slot slot, Index layer, std::vector<Index> shape, Index rows, Index cols, Arrangement hf, Arrangement gguf) {
    network_.stored.push_back({slot, layer, hf, gguf});
    return parameters_[parameters_.add(family_.tensor_name(slot, layer), std::move(shape), rows, cols)].offset;
  }
  template <class = void>
  Index vector(Slot slot, Index layer, Index size, Arrangement hf = {}, Arrangement gguf = {}) {
    const bool rows_move = hf.how != Arrange::plain || gguf.how != Arrange::plain;  // one value a row then
    return add(slot, layer, {size}, rows_move ? size : 1, rows_move ? 1 : size, hf, gguf);
  }
  template <class = void>
  Index matrix(Slot slot, Index layer, Index rows, Index cols) {
    return add(slot, layer, {rows, cols}, rows, cols, {}, {});
  }
  template <class = void>
  NormPlace norm(Slot weight, Slot bias, Index layer) {
    const Arrangement gguf = s_.norm_from_one ? Arrangement{Arrange::one_more} : Arrangement{};
    NormPlace place{vector(weight, layer, s_.width, {}, gguf), -1, s_.norm_from_one};
    if (s_.norm == Norm::layer) place.bias = vector(bias, layer, s_.width);
    return place;
  }
  /// A linear weight [out, in], stored transposed where the family does so.
  template <class = void>
  Index weight(Slot slot, Index layer, Index out, Index in, Arrangement hf = {}, Arrangement gguf = {}) {
    if (!family_.conv1d) return add(slot, layer, {out, in}, out, in, hf, gguf);
    return add(slot, layer, {in, out}, out, in, {Arrange::transposed}, gguf);
  }
  template <class = void>
  Linear linear(Slot slot, Slot bias_slot, bool has_bias, Index layer, Index out, Index in) {
    const Index w = weight(slot, layer, out, in);
    return Linear(out, in, w, has_bias ? vector(bias_slot, layer, out) : -1);
  }
  template <class = void>
  Linear head_linear(Slot slot, Slot bias_slot, Index layer, Index heads, bool rotated) {
    const Arrangement gguf =
        rotated && family_.gguf_rotary_pairs ? Arrangement{Arrange::rotary_pairs, heads, s_.head_dim} : Arrangement{};
    const Index out = heads * s_.head_dim;
    const Index w = weight(slot, layer, out, s_.width, {}, gguf);
    return Linear(out, s_.width, w, s_.qkv_bias ? vector(bias_slot, layer, out, {}, gguf) : -1);
  }

  template <class = void>
  void add_block(Index layer) {
    BlockPlaces b;
    b.attention_norm = norm(Slot::attention_norm, Slot::attention_norm_bias, layer);
    if (family_.qkv == QkvStorage::separate) {
      b.q = head_linear(Slot::q, Slot::q_bias, layer, s_.heads, true);
      b.k = head_linear(Slot::k, Slot::k_bias, layer, s_.kv_heads, true);
      b.v = head_linear(Slot::v, Slot::v_bias, layer, s_.kv_heads, false);
    } else {
      const Arrangement hf =
          family_.qkv == QkvStorage::by_head ? Arrangement{Arrange::qkv_by_head, s_.heads, s_.head_dim} : Arrangement{};
      const Index nq = s_.q_width(), nk = s_.kv_width(), c = s_.width;
      const Index w = weight(Slot::qkv, layer, nq + 2 * nk, c, hf);
      const Index bias = s_.qkv_bias ? vector(Slot::qkv_bias, layer, nq + 2 * nk, hf) : -1;
      const auto bias_at = [&](Index row) { return bias < 0 ? -1 : bias + row; };
      b.q = Linear(nq, c, w, bias_at(0));
      b.k = Linear(nk, c, w + nq * c, bias_at(nq));
      b.v = Linear(nk, c, w + (nq + nk) * c, bias_at(nq + nk));
    }
    if (s_.qk_norm) {
      b.q_norm.weight = vector(Slot::q_norm, layer, s_.head_dim);
      b.k_norm.weight = vector(Slot::k_norm, layer, s_.head_dim);
    }
    b.attention_out =
        linear(Slot::attention_out, Slot::attention_out_bias, s_.attention_out_bias, layer, s_.width, s_.q_width());
    b.mlp_norm = norm(Slot::mlp_norm, Slot::mlp_norm_bias, layer);
    if (s_.mlp == Mlp::gated) b.gate = linear(Slot::gate, Slot::gate_bias, s_.mlp_bias, layer, s_.inner, s_.width);
    b.up = linear(Slot::up, Slot::up_bias, s_.mlp_bias, layer, s_.inner, s_.width);
    b.down = linear(Slot::down, Slot::down_bias, s_.mlp_bias, layer, s_.width, s_.inner);
    network_.block.push_back(std::move(b));
  }

  const FamilyInfo& family_;
  const Shape& s_;
  Parameters<>& parameters_;
  Network network_;
};
}  // namespace detail

/// The tensors that nothing but linear maps reads and that a file stores row by row: where the maps are packed, a
/// forward pass does without them. A score head, which may be new, is not among them.
/// @param gguf  how a GGUF file stores them
inline std::vector<bool> read_by_linear_maps_alone(const Network& network, bool gguf) {
  std::vector<bool> alone(network.stored.size());
  for (std::size_t i = 0; i < alone.size(); ++i) {
    const StoredTensor& stored = network.stored[i];
    const Arrange how = (gguf ? stored.gguf_arrangement : stored.arrangement).how;
    alone[i] = is_linear_weight(stored.slot) && how != Arrange::transposed && how != Arrange::one_more;
  }
  return alone;
}

/// Lays out a network of this shape; adds its tensors to `parameters`, which must be empty.
template <class = void>
Network build_network(const FamilyInfo& family, const Shape& shape, Parameters<>& parameters) {
  return detail::NetworkBuilder(family, shape, parameters).build();
}
}  // namespace vbon::model

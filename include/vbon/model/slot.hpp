// vbon/model/slot.hpp
//
// The tensors a causal language model is made of, named by their role. Each family knows how checkpoints
// call them; GGUF files share one set of names.
#pragma once
#include <string>

#include "vbon/core/error.hpp"
#include "vbon/core/types.hpp"

namespace vbon::model {
enum class Slot {
  token_embedding,
  position_embedding,
  attention_norm,
  attention_norm_bias,
  q,
  q_bias,
  k,
  k_bias,
  v,
  v_bias,
  qkv,
  qkv_bias,  // qkv: one tensor for the three
  q_norm,
  k_norm,
  attention_out,
  attention_out_bias,
  mlp_norm,
  mlp_norm_bias,
  gate,
  gate_bias,
  up,
  up_bias,
  down,
  down_bias,
  final_norm,
  final_norm_bias,
  head,   // rows of the vocabulary
  score,  // rows of the labels, of a reward model
};

/// The weight of a linear map of a block, or the head over the vocabulary.
inline bool is_linear_weight(Slot slot) {
  switch (slot) {
    case Slot::q:
    case Slot::k:
    case Slot::v:
    case Slot::qkv:
    case Slot::attention_out:
    case Slot::gate:
    case Slot::up:
    case Slot::down:
    case Slot::head:
      return true;
    default:
      return false;
  }
}

/// The name of a slot in GGUF files of any architecture; the layer is ignored where there is none.
template <class = void>
std::string gguf_tensor_name(Slot slot, Index layer) {
  const std::string block = "blk." + std::to_string(layer) + ".";
  switch (slot) {
    case Slot::token_embedding:
      return "token_embd.weight";
    case Slot::position_embedding:
      return "position_embd.weight";
    case Slot::attention_norm:
      return block + "attn_norm.weight";
    case Slot::attention_norm_bias:
      return block + "attn_norm.bias";
    case Slot::q:
      return block + "attn_q.weight";
    case Slot::q_bias:
      return block + "attn_q.bias";
    case Slot::k:
      return block + "attn_k.weight";
    case Slot::k_bias:
      return block + "attn_k.bias";
    case Slot::v:
      return block + "attn_v.weight";
    case Slot::v_bias:
      return block + "attn_v.bias";
    case Slot::qkv:
      return block + "attn_qkv.weight";
    case Slot::qkv_bias:
      return block + "attn_qkv.bias";
    case Slot::q_norm:
      return block + "attn_q_norm.weight";
    case Slot::k_norm:
      return block + "attn_k_norm.weight";
    case Slot::attention_out:
      return block + "attn_output.weight";
    case Slot::attention_out_bias:
      return block + "attn_output.bias";
    case Slot::mlp_norm:
      return block + "ffn_norm.weight";
    case Slot::mlp_norm_bias:
      return block + "ffn_norm.bias";
    case Slot::gate:
      return block + "ffn_gate.weight";
    case Slot::gate_bias:
      return block + "ffn_gate.bias";
    case Slot::up:
      return block + "ffn_up.weight";
    case Slot::up_bias:
      return block + "ffn_up.bias";
    case Slot::down:
      return block + "ffn_down.weight";
    case Slot::down_bias:
      return block + "ffn_down.bias";
    case Slot::final_norm:
      return "output_norm.weight";
    case Slot::final_norm_bias:
      return "output_norm.bias";
    case Slot::head:
      return "output.weight";
    case Slot::score:
      return "cls.output.weight";
  }
  throw ConfigError("gguf_tensor_name: a value outside Slot");
}
}  // namespace vbon::model

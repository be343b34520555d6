// vbon/model/source.hpp
//
// A checkpoint as this library loads it: named tensors behind one interface, whatever the file format.
// Everything is checked against the shape before the flat buffer is taken; then each tensor goes from the
// mapped file straight to its place.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "vbon/io/gguf.hpp"
#include "vbon/io/sharded_safetensors.hpp"
#include "vbon/kernel/dequantize.hpp"
#include "vbon/model/network.hpp"

namespace vbon::model {
struct TensorSource {
  std::string path;
  Index tensors = 0;
  bool gguf = false;
  std::function<std::optional<std::vector<Index>>(const std::string& name)> shape;  // nothing: no such tensor
  std::function<void(const std::string& name, View<float> out)> read;
};

/// The two lambdas refer to the file: it must outlive them.
inline TensorSource tensor_source(const io::ShardedSafetensors& file) {
  return {.path = file.path(),
          .tensors = static_cast<Index>(file.names().size()),
          .gguf = false,
          .shape = [&file](const std::string& name) -> std::optional<std::vector<Index>> {
            if (!file.contains(name)) return std::nullopt;
            return file.info(name).shape;
          },
          .read = [&file](const std::string& name, View<float> out) { file.read_f32(name, out); }};
}
inline TensorSource tensor_source(const io::GgufFile& file) {
  return {.path = file.path(),
          .tensors = static_cast<Index>(file.tensors().size()),
          .gguf = true,
          .shape = [&file](const std::string& name) -> std::optional<std::vector<Index>> {
            if (!file.contains(name)) return std::nullopt;
            return file.tensor(name).shape;
          },
          .read =
              [&file](const std::string& name, View<float> out) {
                const io::GgufTensor& tensor = file.tensor(name);
                kernel::dequantize(Cpu{}, tensor.type, tensor.bytes, out);
              }};
}

namespace detail {
/// How this source names one tensor; HF names may lack the family's prefix.
inline std::optional<std::string> find_name(const TensorSource& source, const FamilyInfo& family, Slot slot, Index layer) {
  if (source.gguf) {
    std::string name = gguf_tensor_name(slot, layer);
    return source.shape(name) ? std::optional(std::move(name)) : std::nullopt;
  }
  std::string name = family.tensor_name(slot, layer);
  if (source.shape(name)) return name;
  if (name.starts_with(family.prefix) && source.shape(name.substr(family.prefix.size())))
    return name.substr(family.prefix.size());
  return std::nullopt;
}

/// Tensors the shape has no place for, though they change what the model computes.
inline void refuse_unused(const TensorSource& source, const FamilyInfo& family, const Shape& s) {
  const auto refuse = [&](Slot slot, Index layer, std::string_view why) {
    if (const auto name = find_name(source, family, slot, layer))
      throw FormatError(message(source.path, ": tensor \"", *name, "\" contradicts the config, which says ", why));
  };
  refuse(Slot::attention_norm, s.layers, message(s.layers, " layers"));
  if (family.qkv == QkvStorage::separate) {
    if (!s.qkv_bias)
      for (const Slot slot : {Slot::q_bias, Slot::k_bias, Slot::v_bias}) refuse(slot, 0, "that q, k and v have no bias");
    if (!s.attention_out_bias) refuse(Slot::attention_out_bias, 0, "that the attention output has no bias");
    if (!s.mlp_bias)
      for (const Slot slot : {Slot::gate_bias, Slot::up_bias, Slot::down_bias}) refuse(slot, 0, "that the MLP has no bias");
    if (!s.qk_norm)
      for (const Slot slot : {Slot::q_norm, Slot::k_norm}) refuse(slot, 0, "that q and k are not normalised");
  }
}
}  // namespace detail

/// Builds the network of a shape and fills its parameters.
/// @throws FormatError naming the tensor that is missing, has another shape, or contradicts the config
inline Network load_network(const TensorSource& source, const FamilyInfo& family, const Shape& shape,
                            Parameters& parameters) {
  // A layer has tensors of its own: more layers than tensors is refused before anything is laid out.
  require<FormatError>(shape.layers <= source.tensors, source.path, ": ", shape.layers, " layers in the config, but only ",
                       source.tensors, " tensors");
  detail::refuse_unused(source, family, shape);
  Network network = build_network(family, shape, parameters);
  std::vector<std::string> names;
  for (std::size_t i = 0; i < network.stored.size(); ++i) {
    const StoredTensor& stored = network.stored[i];
    const Parameter& parameter = parameters.list()[i];
    const auto name = detail::find_name(source, family, stored.slot, stored.layer);
    std::vector<Index> expected = parameter.shape;
    if (source.gguf && expected.size() == 2) expected = {parameter.rows, parameter.cols};  // never transposed there
    require<FormatError>(name.has_value(), source.path, ": there is no tensor \"",
                         source.gguf ? gguf_tensor_name(stored.slot, stored.layer) : parameter.name, "\" of shape ",
                         io::shape_text(expected),
                         stored.slot == Slot::head ? "; where the head is the embedding, set tie_word_embeddings" : "");
    const auto found = *source.shape(*name);
    require<FormatError>(found == expected, source.path, ": tensor \"", *name, "\" has shape ", io::shape_text(found), ", ",
                         io::shape_text(expected), " expected from the config");
    names.push_back(*name);
  }
  const View<float> values = parameters.values();
  Tensor<float> stored_form;
  for (std::size_t i = 0; i < network.stored.size(); ++i) {
    const Parameter& parameter = parameters.list()[i];
    const Arrangement& form = source.gguf ? network.stored[i].gguf_arrangement : network.stored[i].arrangement;
    const View<float> place(values.data() + parameter.offset, parameter.rows, parameter.cols);
    if (form.how == Arrange::plain) {
      source.read(names[i], place);
    } else {
      if (stored_form.size() != parameter.size()) stored_form = Tensor<float>(parameter.size());
      source.read(names[i], stored_form);
      arrange(form, stored_form, place);
    }
  }
  return network;
}
}  // namespace vbon::model

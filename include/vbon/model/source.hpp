// vbon/model/source.hpp
//
// A checkpoint as this library loads it: named tensors behind one interface, whatever the file format.
// Everything is checked against the shape before the flat buffer is taken. Then the weights of the linear maps are
// packed for the matrix kernel straight from the mapped file, in the bits that it stores them in where the kernel
// knows them (kernel/packed_format.hpp), and what else a forward pass needs goes to its place; the plain weights are
// read when they are asked for, as training does.
#pragma once
#include <functional>
#include <memory>
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
/// The rows of a matrix as a file holds them: whole blocks of one type, one row after the other.
struct StoredRows {
  BlockType type = BlockType::f32;
  const std::byte* first = nullptr;
  Index bytes = 0;  // of a row
};

/// The functions keep the file open.
struct TensorSource {
  std::string path;
  Index tensors = 0;
  bool gguf = false;
  std::function<std::optional<std::vector<Index>>(const std::string& name)> shape;  // nothing: no such tensor
  std::function<void(const std::string& name, View<float> out)> read;               // on all threads
  /// Whole rows of a matrix, from value `first` on; on any thread.
  std::function<void(const std::string& name, Index first, View<float> out)> read_part;
  /// A matrix [.., cols] in the file; nothing where it is not there, or not of a type that holds weights.
  std::function<std::optional<StoredRows>(const std::string& name, Index cols)> stored;
  std::function<void()> forget;  // gives back the memory of the pages that were read
};

namespace detail {
/// Whole numbers are no weights: a checkpoint that holds some is quantised in a way this library does not know.
template <class = void>
void require_weights(const io::ShardedSafetensors& file, const std::string& name) {
  const auto type = io::dtype_format(file.info(name).dtype);
  require<FormatError>(type.name == "F32" || type.name == "F16" || type.name == "BF16" || type.name == "F64", file.path(),
                       ": tensor \"", name, "\" is ", type.name,
                       "; weights in F32, F16, BF16 or F64 expected: dequantise the checkpoint first");
}
}  // namespace detail

template <class = void>
TensorSource tensor_source(std::shared_ptr<const io::ShardedSafetensors> file) {
  return {.path = file->path(),
          .tensors = static_cast<Index>(file->names().size()),
          .gguf = false,
          .shape = [file](const std::string& name) -> std::optional<std::vector<Index>> {
            if (!file->contains(name)) return std::nullopt;
            return file->info(name).shape;
          },
          .read =
              [file](const std::string& name, View<float> out) {
                detail::require_weights(*file, name);
                file->read_f32(name, out);
              },
          .read_part =
              [file](const std::string& name, Index first, View<float> out) {
                detail::require_weights(*file, name);
                file->read_f32(name, first, out);
              },
          .stored = [file](const std::string& name, Index cols) -> std::optional<StoredRows> {
            if (!file->contains(name)) return std::nullopt;
            const io::TensorInfo& info = file->info(name);
            for (const BlockFormat& format : block_formats)
              if (format.name == io::dtype_format(info.dtype).name)
                return StoredRows{format.type, info.bytes.data(), cols * static_cast<Index>(format.bytes)};
            return std::nullopt;
          },
          .forget = [file] { file->forget(); }};
}
template <class = void>
TensorSource tensor_source(std::shared_ptr<const io::GgufFile> file) {
  return {.path = file->path(),
          .tensors = static_cast<Index>(file->tensors().size()),
          .gguf = true,
          .shape = [file](const std::string& name) -> std::optional<std::vector<Index>> {
            if (!file->contains(name)) return std::nullopt;
            return file->tensor(name).shape;
          },
          .read =
              [file](const std::string& name, View<float> out) {
                const io::GgufTensor& tensor = file->tensor(name);
                kernel::dequantize(Cpu{}, tensor.type, tensor.bytes, out);
              },
          .read_part = [file](const std::string& name, Index first,
                              View<float> out) { file->read_f32(name, first, out.span()); },
          .stored = [file](const std::string& name, Index cols) -> std::optional<StoredRows> {
            if (!file->contains(name)) return std::nullopt;
            const io::GgufTensor& tensor = file->tensor(name);
            const BlockFormat& format = block_format(tensor.type);
            return StoredRows{tensor.type, tensor.bytes.data(),
                              cols / static_cast<Index>(format.elements) * static_cast<Index>(format.bytes)};
          },
          .forget = [file] { file->forget(); }};
}

namespace detail {
/// How this source names one tensor; HF names may lack the family's prefix.
template <class = void>
std::optional<std::string> find_name(const TensorSource& source, const FamilyInfo& family, Slot slot, Index layer) {
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
template <class = void>
void refuse_unused(const TensorSource& source, const FamilyInfo& family, const Shape& s) {
  const auto refuse = [&](Slot slot, Index layer, std::string_view why) {
    if (const auto name = find_name(source, family, slot, layer))
      throw FormatError(message(source.path, ": tensor \"", *name, "\" contradicts the config, which says ", why));
  };
  refuse(Slot::attention_norm, s.layers, message(s.layers, " layers"));
  const bool separate = family.qkv == QkvStorage::separate;
  if (!s.qkv_bias)
    for (const Slot slot : {Slot::q_bias, Slot::k_bias, Slot::v_bias, Slot::qkv_bias})
      if (separate == (slot != Slot::qkv_bias)) refuse(slot, 0, "that q, k and v have no bias");
  if (!s.attention_out_bias) refuse(Slot::attention_out_bias, 0, "that the attention output has no bias");
  if (separate) {
    if (!s.mlp_bias)
      for (const Slot slot : {Slot::gate_bias, Slot::up_bias, Slot::down_bias}) refuse(slot, 0, "that the MLP has no bias");
    if (!s.qk_norm)
      for (const Slot slot : {Slot::q_norm, Slot::k_norm}) refuse(slot, 0, "that q and k are not normalised");
  }
}
/// A head of its own beside a config that says it is the embedding: harmless where the two are equal, as some files have it.
template <class = void>
void refuse_other_head(const TensorSource& source, const FamilyInfo& family, const Shape& s) {
  if (!s.tied || s.labels > 0) return;
  const auto head = find_name(source, family, Slot::head, -1);
  const auto table = find_name(source, family, Slot::token_embedding, -1);
  if (!head || !table || *head == *table) return;
  const std::vector<Index> expected = {s.vocab, s.width};
  bool equal = source.shape(*head) == expected && source.shape(*table) == expected;
  constexpr Index rows = 256;
  Tensor<float> a(rows, s.width), b(rows, s.width);
  for (Index row = 0; equal && row < s.vocab; row += rows) {
    const Index count = std::min(rows, s.vocab - row);
    const View<float> first = a.view().middle_rows(0, count), second = b.view().middle_rows(0, count);
    source.read_part(*head, row * s.width, first);
    source.read_part(*table, row * s.width, second);
    equal = std::equal(first.begin(), first.end(), second.begin());
  }
  source.forget();
  require<FormatError>(
      equal, source.path, ": tensor \"", *head, "\" differs from \"", *table,
      "\", but the config ties the two; set tie_word_embeddings to false to use both, or take the tensor out");
}
}  // namespace detail

/// A network that is laid out, and how a source names its tensors.
struct FoundTensors {
  Network network;
  std::vector<std::string> names;  // of each of network.stored
};
/// Lays the network of a shape out and looks its tensors up, without reading any.
/// @throws FormatError naming the tensor that is missing, has another shape, or contradicts the config
template <class = void>
FoundTensors find_tensors(const TensorSource& source, const FamilyInfo& family, const Shape& shape,
                          Parameters<>& parameters) {
  // A layer has tensors of its own: more layers than tensors is refused before anything is laid out.
  require<FormatError>(shape.layers <= source.tensors, source.path, ": ", shape.layers, " layers in the config, but only ",
                       source.tensors, " tensors");
  detail::refuse_unused(source, family, shape);
  FoundTensors found{.network = build_network(family, shape, parameters), .names = {}};
  for (std::size_t i = 0; i < found.network.stored.size(); ++i) {
    const StoredTensor& stored = found.network.stored[i];
    const Parameter& parameter = parameters.list()[i];
    const auto name = detail::find_name(source, family, stored.slot, stored.layer);
    std::vector<Index> expected = parameter.shape;
    if (source.gguf && expected.size() == 2) expected = {parameter.rows, parameter.cols};  // never transposed there
    require<FormatError>(name.has_value(), source.path, ": there is no tensor \"",
                         source.gguf ? gguf_tensor_name(stored.slot, stored.layer) : parameter.name, "\" of shape ",
                         io::shape_text(expected),
                         stored.slot == Slot::head ? "; where the head is the embedding, set tie_word_embeddings" : "");
    const auto there = *source.shape(*name);
    require<FormatError>(there == expected, source.path, ": tensor \"", *name, "\" has shape ", io::shape_text(there), ", ",
                         io::shape_text(expected), " expected from the config");
    found.names.push_back(*name);
  }
  return found;
}

/// Of each of network.stored: its rows in the file where a linear map can be packed as they are stored, nothing else. For
/// products in bfloat16 rows are pairs of those whatever the file has, so that a model and its reference compute the same.
template <class = void>
std::vector<std::optional<StoredRows>> compact_rows(const TensorSource& source, const FoundTensors& found,
                                                    const Parameters<>& parameters, kernel::Precision precision) {
  std::vector<std::optional<StoredRows>> rows(found.names.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const StoredTensor& stored = found.network.stored[i];
    const Arrange how = (source.gguf ? stored.gguf_arrangement : stored.arrangement).how;
    const Index cols = parameters.list()[i].cols;
    if (how == Arrange::transposed || how == Arrange::one_more) continue;
    rows[i] = source.stored(found.names[i], cols);
    const auto* format = rows[i] ? kernel::find_packed_format(rows[i]->type, cols) : nullptr;
    const bool other = precision == kernel::Precision::bfloat16 && format != kernel::bfloat16_format;
    if (format == nullptr || other) rows[i].reset();
  }
  return rows;
}

/// Builds the network of a shape and fills its parameters.
/// @param precision  of the linear maps
/// @throws FormatError naming the tensor that is missing, has another shape, or contradicts the config
template <class = void>
Network load_network(const TensorSource& source, const FamilyInfo& family, const Shape& shape, Parameters<>& parameters,
                     kernel::Precision precision = kernel::Precision::float32) {
  FoundTensors found = find_tensors(source, family, shape, parameters);
  detail::refuse_other_head(source, family, shape);
  Network& network = found.network;
  const std::vector<std::string>& names = found.names;
  std::vector<Arrangement> form;
  for (const StoredTensor& stored : network.stored)
    form.push_back(source.gguf ? stored.gguf_arrangement : stored.arrangement);
  const std::vector<bool> later = read_by_linear_maps_alone(network, source.gguf);
  const auto read = [source, names, form](Index number, View<float> place) {
    const auto i = static_cast<std::size_t>(number);
    if (form[i].how == Arrange::plain) {
      source.read(names[i], place);
    } else {
      Tensor<float> stored_form(place.size());
      source.read(names[i], stored_form);
      arrange(form[i], stored_form, place);
    }
    source.forget();
  };
  parameters.fill(read, later);
  const auto compact = compact_rows(source, found, parameters, precision);
  network.for_each_linear([&](Linear& linear) {
    linear.set_precision(precision);
    const Index number = parameters.number_at(linear.place());
    const auto i = static_cast<std::size_t>(number);
    const Index first_row = (linear.place() - parameters[number].offset) / linear.inputs(), cols = linear.inputs();
    if (compact[i]) {
      linear.pack_stored(*kernel::find_packed_format(compact[i]->type, cols), [&](Index row) {
        return compact[i]->first + form[i].stored_row(first_row + row) * compact[i]->bytes;
      });
      return source.forget();
    }
    if (!later[i]) return linear.pack(parameters);
    linear.pack_from([&](Index first, Index count, float* out) {
      if (form[i].how == Arrange::plain) return source.read_part(names[i], (first_row + first) * cols, {out, count, cols});
      for (Index r = 0; r < count; ++r)
        source.read_part(names[i], form[i].stored_row(first_row + first + r) * cols, {out + r * cols, 1, cols});
    });
    source.forget();
  });
  return std::move(found.network);
}
}  // namespace vbon::model

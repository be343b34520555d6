// In what form a model is written: the types of its numbers, and the size of a file.
#pragma once
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

#include "option_value.hpp"
#include "vbon/core/block_format.hpp"
#include "vbon/core/error.hpp"
#include "vbon/io/safetensors.hpp"

namespace vbon::program {
/// A type that models are written in, in both formats.
struct SavedType {
  std::string_view name;
  BlockType gguf;
  std::optional<io::Dtype> folder;  // nothing: GGUF files only
};
inline constexpr SavedType saved_types[] = {{"f32", BlockType::f32, io::Dtype::f32},
                                            {"f16", BlockType::f16, io::Dtype::f16},
                                            {"bf16", BlockType::bf16, io::Dtype::bf16},
                                            {"q8_0", BlockType::q8_0, std::nullopt},
                                            {"q4_0", BlockType::q4_0, std::nullopt}};

/// @throws ConfigError naming the flag and the known types
inline const SavedType& saved_type(std::string_view flag, std::string name) {
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  for (const SavedType& type : saved_types)
    if (type.name == name) return type;
  throw ConfigError(message("unknown ", flag, " '", name, "'; known: f32, f16, bf16, and q8_0, q4_0 for GGUF files"));
}
/// The type as a Hugging Face folder has it.
/// @throws ConfigError as saved_type, and for a type of GGUF files only
inline io::Dtype folder_type(std::string_view flag, const std::string& name) {
  const SavedType& type = saved_type(flag, name);
  require<ConfigError>(type.folder.has_value(), flag, " ", type.name, " is for GGUF files; a folder takes f32, f16 or bf16");
  return *type.folder;
}

/// "5GB", "300 MB", "1000000": bytes.
/// @throws ConfigError naming the flag
inline std::uint64_t byte_count(std::string_view flag, const std::string& text) {
  const std::size_t unit = text.find_first_not_of("0123456789.");
  const auto number = parse_number<double>(text.substr(0, unit));
  std::string name = unit == text.npos ? "B" : text.substr(unit);
  std::erase(name, ' ');
  const std::pair<std::string_view, double> units[] = {{"B", 1}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}};
  const auto* known = std::find_if(std::begin(units), std::end(units), [&](const auto& u) { return u.first == name; });
  require<ConfigError>(
      number.has_value() && known != std::end(units) && *number * known->second >= 1 && *number * known->second < 1e18, flag,
      ": a size as 5GB, 300MB or a number of bytes expected, got '", text, "'");
  return static_cast<std::uint64_t>(*number * known->second);
}
}  // namespace vbon::program

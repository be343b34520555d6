// vbon/reward/text_files.hpp
//
// The files of a reward model's folder that say how text becomes tokens, and tokens one vector.
#pragma once
#include <filesystem>
#include <system_error>

#include "vbon/core/error.hpp"
#include "vbon/io/atomic_file.hpp"

namespace vbon::reward {
/// What transformers and sentence-transformers read beside config.json and the weights, where it is there.
inline constexpr const char* text_files[] = {"tokenizer.json",
                                             "tokenizer_config.json",
                                             "special_tokens_map.json",
                                             "added_tokens.json",
                                             "vocab.txt",
                                             "vocab.json",
                                             "merges.txt",
                                             "tokenizer.model",
                                             "spiece.model",
                                             "chat_template.jinja",
                                             "sentence_bert_config.json",
                                             "modules.json",
                                             "1_Pooling/config.json"};

/// Copies them from one folder to another.
/// @throws RunError naming both
template <class = void>
void copy_text_files(const std::filesystem::path& from, const std::filesystem::path& folder) {
  std::error_code error;
  for (const char* name : text_files) {
    if (!std::filesystem::exists(from / name) || error) continue;
    io::make_folder((folder / name).parent_path());
    std::filesystem::copy_file(from / name, folder / name, std::filesystem::copy_options::overwrite_existing, error);
  }
  require<RunError>(!error, "cannot copy the tokenizer from ", from.string(), " to ", folder.string(), ": ",
                    error.message());
}
}  // namespace vbon::reward

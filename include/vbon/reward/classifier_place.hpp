// vbon/reward/classifier_place.hpp
//
// Where a classifier lies and which of its labels counts, in one text of a command line: "FOLDER,label=NAME_OR_NUMBER".
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

#include "vbon/core/error.hpp"

namespace vbon::reward {
struct ClassifierPlace {
  std::string folder, label = {};  // an empty label: none is chosen
};

/// What stands there is a folder, whatever its name; otherwise the last ",label=" ends the folder's name. All behind it
/// is the label, which may hold commas.
/// @throws ConfigError for an empty label
template <class = void>
ClassifierPlace classifier_place(const std::string& text) {
  constexpr std::string_view mark = ",label=";
  const auto at = text.rfind(mark);
  std::error_code unknown;
  if (at == text.npos || std::filesystem::exists(text, unknown)) return {.folder = text};
  ClassifierPlace place{.folder = text.substr(0, at), .label = text.substr(at + mark.size())};
  require<ConfigError>(!place.label.empty(), "reward classifier:", text,
                       ": a name or a number expected behind label=, got nothing; 'vbon inspect ", place.folder,
                       "' lists the labels");
  return place;
}
}  // namespace vbon::reward

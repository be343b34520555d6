// Reads the layer tables of docs/architecture.md and the include lines of a tree, and lists what breaks a rule.
#pragma once
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace vbon::test {
struct Layers {
  std::map<std::string, int> layer;                        // folder -> row
  std::map<std::string, std::set<std::string>> allowed;    // folder -> folders its headers may include
  std::map<std::string, std::set<std::string>> libraries;  // start of a header's name -> folders ("*": all)
};

inline std::string trimmed(std::string text) {
  const auto drop = [](char c) { return c == ' ' || c == '`' || c == '\r'; };
  while (!text.empty() && drop(text.back())) text.pop_back();
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), drop));
  return text;
}
inline std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);) parts.push_back(trimmed(part));
  return parts;
}

/// The rows of the table that follows a comment starting with `mark`, without its heading.
inline std::vector<std::vector<std::string>> table_after(const std::filesystem::path& file, const std::string& mark) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot open " + file.string());
  std::vector<std::vector<std::string>> rows;
  bool found = false;
  for (std::string line; std::getline(in, line);) {
    if (!found) {
      found = line.starts_with("<!-- " + mark);
    } else if (line.starts_with("|")) {
      auto cells = split(line, '|');
      cells.erase(cells.begin());  // what stands before the first bar
      rows.push_back(std::move(cells));
    } else {
      break;
    }
  }
  if (rows.size() < 3) throw std::runtime_error(file.string() + ": no table after '<!-- " + mark + "'");
  rows.erase(rows.begin(), rows.begin() + 2);
  return rows;
}

inline std::set<std::string> names(const std::string& cell) {
  std::set<std::string> out;
  for (const auto& name : split(cell, ','))
    if (!name.empty() && name != "nowhere") out.insert(name);
  return out;
}

inline Layers read_layers(const std::filesystem::path& document) {
  Layers layers;
  for (const auto& row : table_after(document, "layers")) {
    layers.layer[row.at(1)] = std::stoi(row.at(0));
    layers.allowed[row.at(1)] = names(row.size() > 2 ? row[2] : "");
  }
  for (const auto& row : table_after(document, "dependencies")) layers.libraries[row.at(0)] = names(row.at(1));
  return layers;
}

/// Rows of the table itself that point up or sideways, or to a folder without a row.
inline std::vector<std::string> table_faults(const Layers& layers) {
  std::vector<std::string> faults;
  for (const auto& [folder, allowed] : layers.allowed)
    for (const auto& target : allowed) {
      if (!layers.layer.contains(target))
        faults.push_back("layer table: " + folder + " names the unknown folder " + target);
      else if (layers.layer.at(target) >= layers.layer.at(folder))
        faults.push_back("layer table: " + folder + " may not include " + target + ", which is not below it");
    }
  return faults;
}

struct Include {
  std::string name;
  int line;
  bool angled;
};
/// The include lines of a file and whether it says #pragma once.
struct Scan {
  std::vector<Include> includes;
  bool once = false;
};
inline Scan scan(const std::filesystem::path& file) {
  Scan out;
  std::ifstream in(file);
  int number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    std::string_view text = line;
    const auto skip_blanks = [&] { text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size())); };
    skip_blanks();
    if (!text.starts_with('#')) continue;
    text.remove_prefix(1);
    skip_blanks();
    if (text.starts_with("pragma once")) out.once = true;
    if (!text.starts_with("include")) continue;
    text.remove_prefix(7);
    skip_blanks();
    if (text.empty() || (text.front() != '"' && text.front() != '<')) continue;
    const char close = text.front() == '<' ? '>' : '"';
    out.includes.push_back({std::string(text.substr(1, text.find(close, 1) - 1)), number, close == '>'});
  }
  return out;
}

/// Checks every header below root/include/vbon. Each finding: "file:line: includes X: rule".
inline std::vector<std::string> check_tree(const std::filesystem::path& root, const Layers& layers) {
  namespace fs = std::filesystem;
  const fs::path include = root / "include";
  std::vector<std::string> findings;
  std::map<std::string, std::vector<Include>> graph;  // "vbon/x/y.hpp" -> own headers it includes
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(include / "vbon"))
    if (entry.is_regular_file() && (entry.path().extension() == ".hpp" || entry.path().extension() == ".cuh"))
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());

  const auto folder_of = [](const std::string& name) {  // "vbon/core/x.hpp" -> "core"; "" for vbon/bon.hpp
    const auto parts = split(name, '/');
    return parts.size() > 2 ? parts[1] : std::string();
  };
  for (const auto& path : files) {
    const std::string name = fs::relative(path, include).generic_string();
    const std::string folder = folder_of(name);
    const Scan found = scan(path);
    const std::string file = "include/" + name;
    if (!found.once) findings.push_back(file + ":1: has no #pragma once");
    if (!folder.empty() && !layers.layer.contains(folder)) {
      findings.push_back(file + ":1: folder " + folder + " has no row in the layer table");
      continue;
    }
    for (const auto& inc : found.includes) {
      const std::string where = file + ":" + std::to_string(inc.line) + ": includes " + inc.name + ": ";
      if (!inc.angled) {
        if (!inc.name.starts_with("vbon/")) {
          findings.push_back(where + "own headers are named from the root, as in \"vbon/core/error.hpp\"");
          continue;
        }
        if (!fs::exists(include / inc.name)) {
          findings.push_back(where + "there is no such header");
          continue;
        }
        graph[name].push_back(inc);
        const std::string target = folder_of(inc.name);
        if (folder.empty() || target == folder) continue;
        if (target.empty())
          findings.push_back(where + "a table of contents is for programs, not for headers");
        else if (!layers.allowed.at(folder).contains(target))
          findings.push_back(where + folder + " may not include " + target);
        continue;
      }
      for (const auto& [library, folders] : layers.libraries) {
        const bool fits = library.ends_with('/') ? inc.name.starts_with(library) : inc.name == library;
        if (fits && !folders.contains("*") && !folders.contains(folder))
          findings.push_back(where + (folder.empty() ? "a table of contents" : folder) + " may not use this library");
      }
      if (inc.name.starts_with("vbon/")) findings.push_back(where + "own headers are included with quotes");
    }
  }

  // A cycle inside a folder compiles by luck (#pragma once breaks it), so it is looked for here.
  std::map<std::string, int> state;  // 1: on the path now, 2: done
  const auto visit = [&](const auto& self, const std::string& name) -> void {
    state[name] = 1;
    for (const auto& inc : graph[name]) {
      if (state[inc.name] == 1)
        findings.push_back("include/" + name + ":" + std::to_string(inc.line) + ": includes " + inc.name + ": closes a cycle");
      else if (state[inc.name] == 0)
        self(self, inc.name);
    }
    state[name] = 2;
  };
  for (const auto& path : files) {
    const std::string name = fs::relative(path, include).generic_string();
    if (state[name] == 0) visit(visit, name);
  }
  return findings;
}
}  // namespace vbon::test

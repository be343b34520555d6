// vbon/io/sharded_safetensors.hpp
//
// The weights of a model folder, in one safetensors file or in several that an index names.
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "vbon/io/safetensors.hpp"

namespace vbon::io {
class ShardedSafetensors {
 public:
  /// Opens FOLDER/model.safetensors, or the files that FOLDER/model.safetensors.index.json names; a file of
  /// either kind may be given too.
  /// @throws RunError when a file is missing, FormatError when the index and its files contradict each other
  template <class = void>
  static ShardedSafetensors open(const std::filesystem::path& path) {
    ShardedSafetensors all;
    if (!std::filesystem::is_directory(path)) {
      path.extension() == ".json" ? all.open_index(path) : all.open_single(path);
    } else if (const auto index = path / "model.safetensors.index.json";
               std::filesystem::exists(path / "model.safetensors")) {
      all.open_single(path / "model.safetensors");
    } else {
      require<RunError>(std::filesystem::exists(index), "no weights in ", path.string(),
                        ": model.safetensors or model.safetensors.index.json was expected");
      all.open_index(index);
    }
    return all;
  }

  /// All names, sorted.
  template <class = void>
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const auto& [name, shard] : shard_of_) all.push_back(name);
    return all;
  }
  bool contains(const std::string& name) const { return shard_of_.contains(name); }
  template <class = void>
  const TensorInfo& info(const std::string& name) const {
    return shard(name).info(name);
  }
  template <class = void>
  void read_f32(const std::string& name, View<float> out) const {
    shard(name).read_f32(name, out);
  }
  /// A part of it: the values from `first` on.
  template <class = void>
  void read_f32(const std::string& name, Index first, View<float> out) const {
    shard(name).read_f32(name, first, out);
  }
  /// Gives back the memory of the pages that were read.
  void forget() const {
    for (const SafetensorsFile& file : shards_) file.forget();
  }
  template <class = void>
  View<const float> view_f32(const std::string& name) const {
    return shard(name).view_f32(name);
  }
  std::string path() const { return path_; }
  std::size_t shard_count() const { return shards_.size(); }

 private:
  template <class = void>
  const SafetensorsFile& shard(const std::string& name) const {
    const auto found = shard_of_.find(name);
    require<FormatError>(found != shard_of_.end(), path_, ": there is no tensor \"", name, "\"");
    return shards_[found->second];
  }
  template <class = void>
  void open_single(const std::filesystem::path& path) {
    path_ = path.string();
    shards_.push_back(SafetensorsFile::open(path));
    for (const auto& [name, info] : shards_[0].tensors()) shard_of_.emplace(name, 0);
  }
  template <class = void>
  void open_index(const std::filesystem::path& path) {
    path_ = path.string();
    const Json index = read_json(path);
    const Json* map = json_find(index, "weight_map");
    require<FormatError>(map != nullptr && map->is_object(), path_, ": the field \"weight_map\" must be an object");
    std::map<std::string, std::size_t> opened;
    for (const auto& [name, value] : map->items()) {
      const auto file = json_as<std::string>(value, path_ + ": weight_map \"" + name + "\"");
      // A shard lies beside its index: a name with a folder in it could reach any file of the machine.
      require<FormatError>(!file.empty() && file != ".." && file.find_first_of(std::string_view("/\\\0", 3)) == file.npos,
                           path_, ": weight_map \"", name, "\": \"", file, "\" is no plain file name");
      const auto [shard, first] = opened.emplace(file, shards_.size());
      if (first) {
        require<FormatError>(std::filesystem::exists(path.parent_path() / file), path_, ": weight_map \"", name,
                             "\": the file \"", file, "\" is not there");
        shards_.push_back(SafetensorsFile::open(path.parent_path() / file));
      }
      require<FormatError>(shards_[shard->second].contains(name), path_, ": weight_map \"", name, "\": the file \"", file,
                           "\" holds no such tensor");
      shard_of_.emplace(name, shard->second);
    }
  }

  std::string path_;
  std::vector<SafetensorsFile> shards_;
  std::map<std::string, std::size_t> shard_of_;
};
}  // namespace vbon::io

// malformed/files/*: hostile and odd files. Each must give the outcome that the list beside them expects, with
// an error that names the file and the place, within a second, and without allocating beyond its size.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <new>

#include "support/conformance.hpp"
#include "support/temporary_folder.hpp"
#include "vbon/io/gguf.hpp"
#include "vbon/io/sharded_safetensors.hpp"
#include "vbon/model/load.hpp"
#include "vbon/rollout/cache_file.hpp"
#include "vbon/text/tokenizer.hpp"

namespace {
// Every allocation of this program is counted: what is held now, and the most that ever was.
std::atomic<std::size_t> held{0}, most{0};

void* counted(std::size_t size, std::size_t alignment) {
  const std::size_t header = std::max(alignment, alignof(std::max_align_t));
  void* block = std::aligned_alloc(header, (size + 2 * header - 1) / header * header);
  if (block == nullptr) throw std::bad_alloc();
  *static_cast<std::size_t*>(block) = size;
  const std::size_t now = held += size;
  for (std::size_t before = most; before < now && !most.compare_exchange_weak(before, now);) {
  }
  return static_cast<char*>(block) + header;
}
void release(void* memory, std::size_t alignment) noexcept {
  if (memory == nullptr) return;
  void* block = static_cast<char*>(memory) - std::max(alignment, alignof(std::max_align_t));
  held -= *static_cast<std::size_t*>(block);
  std::free(block);
}
}  // namespace

void* operator new(std::size_t size) { return counted(size, 1); }
void* operator new[](std::size_t size) { return counted(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { release(memory, 1); }
void operator delete[](void* memory) noexcept { release(memory, 1); }
void operator delete(void* memory, std::size_t) noexcept { release(memory, 1); }
void operator delete[](void* memory, std::size_t) noexcept { release(memory, 1); }
void operator delete(void* memory, std::align_val_t alignment) noexcept {
  release(memory, static_cast<std::size_t>(alignment));
}
void operator delete[](void* memory, std::align_val_t alignment) noexcept {
  release(memory, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory, std::size_t, std::align_val_t alignment) noexcept {
  release(memory, static_cast<std::size_t>(alignment));
}
void operator delete[](void* memory, std::size_t, std::align_val_t alignment) noexcept {
  release(memory, static_cast<std::size_t>(alignment));
}

namespace vbon::test {
namespace {
namespace fs = std::filesystem;

/// Loads everything that a file of this kind holds.
using Load = std::function<void()>;

void read_all(const auto& file) {
  for (const auto& name : file.names()) {
    std::vector<float> values(static_cast<std::size_t>(file.info(name).size));
    file.read_f32(name, std::span(values));
  }
}
void load_safetensors(const fs::path& path) { read_all(io::SafetensorsFile::open(path)); }
void load_gguf(const fs::path& path) {
  const auto file = io::GgufFile::open(path);
  for (const auto& tensor : file.tensors()) {
    std::vector<float> values(static_cast<std::size_t>(tensor.size));
    file.read_f32(tensor.name, values);
  }
}
void load_tokenizer(const fs::path& path) {
  const auto tokenizer = text::Tokenizer::from_json(path);
  tokenizer.decode(tokenizer.encode("abc ab unknown words 123"));
}

/// A copy of a case and of the folder that belongs to it, so that the case carries the name it needs.
struct Staged {
  TemporaryFolder folder;
  Staged(const fs::path& path, const std::string& base, const std::string& name) {
    for (const auto& entry : fs::directory_iterator(path.parent_path()))
      if (entry.is_directory()) fs::copy(entry.path(), folder / entry.path().filename().string());
    const fs::path target = folder / base / name;
    fs::remove(target);
    fs::copy_file(path, target);
  }
};

/// Runs one load under the clock and the allocation counter, and holds the outcome against what is expected.
void check_outcome(const fs::path& path, const std::string& expect, const std::string& named, const Load& load,
                   Report& report) {
  const std::size_t before = held;
  most = before;
  const auto start = std::chrono::steady_clock::now();
  std::string error;
  bool typed = true;
  try {
    load();
  } catch (const Error& e) {
    error = e.what();
  } catch (const std::exception& e) {
    error = e.what();
    typed = false;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::size_t allocated = most - before;
  report.check(typed, "an error of this library was expected, got: ", error);
  if (expect == "reject") report.check(!error.empty(), "was accepted");
  if (expect == "accept") report.check(error.empty(), "was refused: ", error);
  if (!error.empty()) report.check(error.find(named) != std::string::npos, "the error does not name ", named, ": ", error);
  report.check(error.find('\n') == std::string::npos, "the error is more than one line: ", error);
  report.check(seconds < 1, "took ", seconds, " s");
  report.check(allocated <= fs::file_size(path) + (std::size_t{64} << 20), "allocated ", allocated, " bytes for a file of ",
               fs::file_size(path));
}

const Register files("malformed/files/*", [](const fs::path& path, Report& report) {
  report.begin_case(path.filename().string());
  if (fs::is_directory(path)) {  // the weights that config and index cases are put beside
    for (const auto& entry : fs::directory_iterator(path))
      if (entry.path().extension() == ".safetensors")
        check_outcome(
            entry.path(), "accept", "", [&] { load_safetensors(entry.path()); }, report);
    return;
  }
  const Json manifest = read_json(path.parent_path().parent_path() / "manifest.json");
  const std::string name = path.parent_path().filename().string() + "/" + path.filename().string();
  const auto row = std::find_if(manifest.begin(), manifest.end(), [&](const Json& entry) { return entry["file"] == name; });
  if (!report.check(row != manifest.end(), "is not in the manifest")) return;
  const auto kind = (*row)["kind"].get<std::string>(), expect = (*row)["expect"].get<std::string>();

  std::optional<Staged> staged;
  std::string named = path.filename().string();
  Load load;
  if (kind == "safetensors") {
    load = [&] { load_safetensors(path); };
  } else if (kind == "gguf") {
    load = [&] { load_gguf(path); };
  } else if (kind == "tokenizer") {
    load = [&] { load_tokenizer(path); };
  } else if (kind == "jsonl") {
    load = [&] { rollout::read_cache_file(path, false); };
  } else if (kind == "index") {
    named = "model.safetensors.index.json";
    staged.emplace(path, "index_base", named);
    load = [&] { read_all(io::ShardedSafetensors::open(staged->folder / "index_base" / named)); };
  } else if (kind == "config") {
    named = "config_base";  // where config and weights contradict each other, either may be named
    staged.emplace(path, named, "config.json");
    load = [&] { model::load_causal_lm(staged->folder / "config_base"); };
  }
  if (!report.check(static_cast<bool>(load), "the kind \"", kind, "\" is not known")) return;
  check_outcome(path, expect, named, load, report);
});
}  // namespace
}  // namespace vbon::test

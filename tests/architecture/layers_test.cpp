// The layer rules of docs/architecture.md hold in the tree, and the checker itself finds what it should.
#include "architecture/layers.hpp"

#include "support/catch.hpp"

namespace vbon::test {
namespace {
const std::filesystem::path root = VBON_SOURCE_DIR;
const std::filesystem::path bad_tree = root / "tests/architecture/bad_tree";

std::string lines(const std::vector<std::string>& findings) {
  std::string text;
  for (const auto& finding : findings) text += finding + '\n';
  return text;
}
}  // namespace

TEST_CASE("includes follow the layer table", "[architecture]") {
  const Layers layers = read_layers(root / "docs/architecture.md");
  CHECK(lines(table_faults(layers)) == "");
  CHECK(lines(check_tree(root, layers)) == "");
}

TEST_CASE("every folder of the tree has a row in the layer table", "[architecture]") {
  const Layers layers = read_layers(root / "docs/architecture.md");
  for (const auto& entry : std::filesystem::directory_iterator(root / "include/vbon"))
    if (entry.is_directory()) {
      CAPTURE(entry.path());
      CHECK(layers.layer.contains(entry.path().filename().string()));
    }
}

TEST_CASE("the checker names file, line and rule of every breach in a bad tree", "[architecture]") {
  const Layers layers = read_layers(bad_tree / "layers.md");
  CHECK(lines(check_tree(bad_tree, layers)) ==
        "include/vbon/bon/upward.hpp:5: includes vbon/train/loop.hpp: bon may not include train\n"
        "include/vbon/bon/upward.hpp:6: includes vbon/all.hpp: a table of contents is for programs, not for headers\n"
        "include/vbon/bon/upward.hpp:7: includes vbon/bon/absent.hpp: there is no such header\n"
        "include/vbon/core/heavy.hpp:3: includes iostream: core may not use this library\n"
        "include/vbon/core/heavy.hpp:4: includes nlohmann/json.hpp: core may not use this library\n"
        "include/vbon/core/heavy.hpp:5: includes error.hpp: own headers are named from the root, as in "
        "\"vbon/core/error.hpp\"\n"
        "include/vbon/core/heavy.hpp:6: includes vbon/core/error.hpp: own headers are included with quotes\n"
        "include/vbon/core/unguarded.hpp:1: has no #pragma once\n"
        "include/vbon/stray/lost.hpp:1: folder stray has no row in the layer table\n"
        "include/vbon/train/step.hpp:3: includes vbon/train/loop.hpp: closes a cycle\n"
        "include/vbon/bon/upward.hpp:6: includes vbon/all.hpp: closes a cycle\n");
}

TEST_CASE("a layer table that points up or to nowhere is refused", "[architecture]") {
  CHECK(lines(table_faults(read_layers(bad_tree / "layers_upward.md"))) ==
        "layer table: core may not include train, which is not below it\n"
        "layer table: train names the unknown folder nowhere_land\n");
  CHECK_THROWS_AS(read_layers(bad_tree / "include/vbon/all.hpp"), std::runtime_error);
}
}  // namespace vbon::test

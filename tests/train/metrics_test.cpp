#include "vbon/train/metrics.hpp"

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace vbon::test {
TEST_CASE("rows behind the checkpoint are cut off, missing ones are told by file and size", "[train][metrics][error]") {
  const TemporaryFolder folder;
  std::vector<std::uint64_t> sizes;
  {
    train::MetricsWriter metrics(folder.path());
    metrics.write("align", 1, {{"loss", 0.5}}, {{"seconds", 1}});
    sizes = metrics.sizes();
    metrics.write("align", 2, {{"loss", 0.25}}, {{"seconds", 1}});
  }
  const auto path = folder / "metrics.jsonl";
  CHECK(train::MetricsWriter(folder.path(), sizes).sizes() == sizes);
  const auto refusal = [&] {
    try {
      train::MetricsWriter(folder.path(), sizes);
    } catch (const RunError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  using Catch::Matchers::Contains;
  std::filesystem::resize_file(path, 5);
  CHECK_THAT(refusal(), Contains(path.string()) && Contains(message(sizes[0], " bytes")) && Contains("5 are there") &&
                            Contains("--overwrite"));
  std::filesystem::remove(path);
  CHECK_THAT(refusal(), Contains(path.string()) && Contains("0 are there"));
  CHECK_FALSE(std::filesystem::exists(path));
}
}  // namespace vbon::test

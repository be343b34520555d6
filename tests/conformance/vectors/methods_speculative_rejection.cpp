// methods/speculative_rejection.json: survivors, the pick, and the token cost of recorded runs.
#include "support/method_vectors.hpp"
#include "vbon/decode/prune.hpp"

namespace vbon::test {
namespace {
const MethodVectors speculative_rejection("speculative_rejection",
                                          [](const std::string&, const Json& params, const Json& input) -> Json {
                                            std::vector<std::vector<double>> score;
                                            for (const auto& row : input["scores"]) score.push_back(numbers(row));
                                            const auto length = input["lengths"].get<std::vector<Index>>();
                                            const decode::PruneRun run =
                                                decode::prune_run(score, length, params["alpha"],
                                                                  params["checkpoint_tokens"], params["max_tokens"]);
                                            return {{"survivors", run.survivors},
                                                    {"last_checkpoint", run.last_checkpoint},
                                                    {"selected", run.selected},
                                                    {"tokens_generated", run.tokens},
                                                    {"tokens_best_of_n", run.tokens_best_of_n}};
                                          });
}  // namespace
}  // namespace vbon::test

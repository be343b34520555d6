// methods/controlled_decoding.json: token-level guidance by a value, and blockwise best-of-K.
#include "support/method_vectors.hpp"
#include "vbon/decode/controlled_law.hpp"

namespace vbon::test {
namespace {
using namespace decode;

const MethodVectors controlled_decoding("controlled_decoding",
                                        [](const std::string& kind, const Json& params, const Json& input) -> Json {
                                          const auto first = numbers(input["probs_first"]);
                                          const auto second = input["probs_second"].get<std::vector<std::vector<double>>>();
                                          const auto reward = input["rewards"].get<std::vector<std::vector<double>>>();
                                          const TwoStep problem{first, second, reward};
                                          if (kind == "blockwise")
                                            return {{"law", controlled_block_law(problem, params["K"]).joint}};
                                          const double beta = params["beta"];
                                          const TwoStepLaw law =
                                              controlled_token_law(problem, option<PrefixValue>(params["value"]), beta);
                                          // The whole sequence as one outcome.
                                          std::vector<double> probability, flat;
                                          for (std::size_t k = 0; k < first.size(); ++k)
                                            for (std::size_t l = 0; l < second[k].size(); ++l) {
                                              probability.push_back(first[k] * second[k][l]);
                                              flat.push_back(reward[k][l]);
                                            }
                                          const auto joint = bon::tilted_law(probability, flat, beta);
                                          Json target = Json::array();
                                          for (std::size_t k = 0, next = 0; k < first.size(); ++k) {
                                            Json row = Json::array();
                                            for (std::size_t l = 0; l < second[k].size(); ++l) row.push_back(joint[next++]);
                                            target.push_back(row);
                                          }
                                          return {
                                              {"value_first", law.value},
                                              {"policy_first", law.first},
                                              {"policy_second", law.second},
                                              {"law", law.joint},
                                              {"target", target},
                                              {"log_Z", prefix_value(PrefixValue::soft, probability, flat, beta) / beta}};
                                        });
}  // namespace
}  // namespace vbon::test

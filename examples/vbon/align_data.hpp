// The reward and the prompts of `vbon align`: the user's, or those of the fetched review snippets.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "align_options.hpp"
#include "models.hpp"
#include "vbon/train/run_folder.hpp"

namespace vbon::program {
struct AlignData {
  reward::Any reward;
  std::vector<Prompt> training, held_out;  // disjoint texts
  std::vector<Preference> pairs;           // of --pairs, for the training prompts
  std::string title, summary;
};

/// @param run    is begun once all that was named is loaded; the reward trained here is kept in run/reward
/// @param stage  is told what goes on
AlignData prepare_data(const AlignOptions& options, train::RunFolder& run, const Policy& policy,
                       const std::function<void(const std::string&)>& stage);
}  // namespace vbon::program

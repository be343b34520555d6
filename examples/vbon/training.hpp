// What the commands that train share: their stages, the reference cache, the phases of a training.
#pragma once
#include <chrono>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "align_options.hpp"
#include "models.hpp"
#include "vbon/rollout/reference_cache.hpp"
#include "vbon/train/metrics.hpp"
#include "vbon/train/phase.hpp"
#include "vbon/train/progress.hpp"
#include "vbon/train/run_folder.hpp"

namespace vbon::program {
/// The stages of the run with the time each took.
class Stages {
 public:
  explicit Stages(const Common& common) : common_(common) {}
  void begin(const std::string& name) {
    end();
    name_ = name;
    start_ = std::chrono::steady_clock::now();
  }
  void end() {
    if (name_.empty()) return;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    times_.emplace_back(name_, seconds);
    name_.clear();
  }
  /// A bar for the stage that runs.
  std::unique_ptr<train::Progress> bar(Index total, Index done = 0) const {
    return std::make_unique<train::Progress>(
        stderr, common_.quiet ? train::Progress::Style::silent : train::Progress::style_for(stderr), name_, total, done);
  }
  const std::vector<std::pair<std::string, double>>& times() const { return times_; }
  std::vector<std::pair<std::string, std::string>> in_words() const {
    std::vector<std::pair<std::string, std::string>> out;
    double total = 0;
    for (const auto& [name, seconds] : times_) out.emplace_back(name, train::in_words(seconds)), total += seconds;
    out.emplace_back("all stages of this start", train::in_words(total));
    return out;
  }

 private:
  const Common& common_;
  std::string name_;
  std::chrono::steady_clock::time_point start_;
  std::vector<std::pair<std::string, double>> times_;
};

/// @throws ConfigError when --overwrite would remove a file that the command reads
void refuse_own_inputs(const AlignOptions& options, const train::RunFolder& run);

/// The model with its new adapter, where one is asked for, and the sampler of the run.
Policy starting_policy(const AlignOptions& options);

/// The figures of a step for its bar.
std::string figures(const train::Metrics& metrics);

/// Responses of the reference with their rewards, drawn now or read from the file where they stand there.
/// @throws RunError stopped; DomainError nan_reward
rollout::ReferenceCache references(Policy& reference, const reward::Any& reward, const std::vector<Prompt>& prompts,
                                   const std::filesystem::path& file, Index samples, RngKey key, const Stages& stages);

/// Reward and win rate on a few held-out prompts: the row of a periodic evaluation.
train::Metrics glance(Policy& policy, const reward::Any& reward, std::span<const Prompt> prompts,
                      const rollout::ReferenceCache& pool, RngKey key);

/// The warm start, where there is one, and the training.
/// @throws ConfigError for names and settings of no meaning
std::vector<train::Phase> phases(const AlignOptions& options);

/// Tries each phase on a made-up batch, before anything is loaded.
/// @throws ConfigError with what the objective says, and the flags that decide it
void try_out(const std::vector<train::Phase>& plan, const AlignOptions& options);
}  // namespace vbon::program

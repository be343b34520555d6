// Models, rewards and prompts as the commands load them. The networks are behind this header: a command that includes it
// compiles in seconds.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "program.hpp"
#include "vbon/data/preference.hpp"
#include "vbon/io/json.hpp"
#include "vbon/io/safetensors.hpp"
#include "vbon/policy/linear_critic.hpp"
#include "vbon/policy/sampler.hpp"
#include "vbon/reward/any.hpp"

namespace vbon::policy {
class Session;
}
namespace vbon::text {
class Tokenizer;
}

namespace vbon::program {
/// The adapter that --lora-rank and its companions ask for.
struct LoraSettings {
  Index rank = 0;  // 0: none, all weights are trained
  double alpha = 16;
  bool rank_stabilized = false;
  std::string targets = "all-linear";
};

/// Responses of a Policy under way, driven step by step: what a decoder works on.
class Session {
 public:
  explicit Session(std::unique_ptr<policy::Session> session);
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();
  const std::vector<policy::Draft>& drafts() const;
  std::vector<Index> live() const;
  Index room() const;
  std::span<const TokenId> end_tokens() const;
  Tensor<float> next_log_probs();
  void extend(Index tokens, RngKey key);
  void append(std::span<const TokenId> token);
  void keep(std::span<const Index> numbers);

 private:
  std::unique_ptr<policy::Session> session_;
};

/// A causal language model of any family with its tokenizer.
class Policy {
 public:
  using device_type = Cpu;

  /// @param path     a GGUF file or a Hugging Face folder; empty: the fetched SmolLM2
  /// @param adapter  a LoRA adapter of that model as a peft folder; empty: none
  /// @param bf16     what --bf16 says
  /// @throws RunError, FormatError, ConfigError; a folder that holds another kind of model is named as such
  static Policy load(const std::filesystem::path& path, const std::filesystem::path& adapter = {}, bool bf16 = false);
  Policy(Policy&&) noexcept;
  Policy& operator=(Policy&&) noexcept;
  ~Policy();
  Policy clone() const;
  /// Freezes the weights; a new adapter is trained in their place.
  /// @throws ConfigError for settings that cannot work or name no linear map
  void adapt(const LoraSettings& settings, RngKey key);
  /// From now on the backward pass computes the activations of a block again instead of keeping those of all. A pass takes
  /// as many tokens as before: not a bit of the result changes.
  void recompute();
  /// Bounds what sample_for_backward() keeps; changes no bit of a result.
  void keep_sampled(Index megabytes);
  /// What the policy is held against: its weights without the adapter, shared; where there is none a clone.
  Policy reference() const;
  /// Writes a folder that transformers loads; of an adapted policy with the merged weights.
  void save(const std::filesystem::path& folder, io::Dtype dtype = io::Dtype::f32) const;
  /// Writes the adapter as a folder that peft loads.
  void save_adapter(const std::filesystem::path& folder, const std::string& base_name) const;

  policy::Sampler& sampler();
  bool bf16() const;
  Index vocabulary() const;
  Index context() const;

  RolloutBatch sample(std::span<const Prompt> prompts, Index samples, RngKey key);
  RolloutBatch sample_for_backward(std::span<const Prompt> prompts, Index samples, RngKey key);
  Session open(std::span<const Prompt> prompts, Index samples);
  Array log_prob(const RolloutBatch& batch);
  void backward(const RolloutBatch& batch, const Array& dlog_prob);
  std::vector<Index> cuts_for_backward(const RolloutBatch& batch, Index most_responses) const;
  void backward_through(const RolloutBatch& batch, const std::function<Array(const Array&)>& gradient_of);
  Array kl(const RolloutBatch& batch, Policy& reference, Array* reference_log_prob = nullptr);
  Tensor<float> features(const RolloutBatch& batch);
  View<float> parameters();
  View<float> gradients();
  void zero_gradients();
  void parameters_changed();

  /// Prompts of a JSONL file with their tokens; messages go through the model's chat template.
  std::vector<Prompt> load_prompts(const std::filesystem::path& path) const;
  /// Preferences of a JSONL file with their tokens; a conversation as prompt goes through the model's chat template, a
  /// response ends with the end token.
  /// @throws FormatError naming line and key; DomainError prompt_too_long
  std::vector<Preference> load_preferences(const std::filesystem::path& path) const;
  /// Tokens for a prompt that goes to the model as it stands.
  Prompt encoded(std::string text, std::uint64_t id) const;
  /// The prompt with `text` behind it; its tokens so far stay as they are.
  Prompt continued(Prompt prompt, const std::string& text) const;
  bool has_tokenizer() const;
  const text::Tokenizer& tokenizer() const;
  /// The prompt that one message of a user becomes.
  Prompt chat(const std::string& message, std::uint64_t id) const;
  /// @throws DomainError prompt_too_long, naming the prompt, its length, the context and the remedy
  void require_room(std::span<const Prompt> prompts) const;
  /// How responses are drawn, for the reference cache.
  io::Json sampler_settings() const;

 private:
  struct Model;
  explicit Policy(std::unique_ptr<Model> model);
  std::unique_ptr<Model> model_;
};
static_assert(TrainablePolicy<Policy> && FeaturedPolicy<Policy>);
static_assert(SteppedPolicy<Policy> && RecordingPolicy<Policy>);
/// Tells who asks for --bf16 or --reward-bf16 on a processor that gains nothing by it.
void remark_bf16(const Common& common, bool bf16);
inline constexpr const char* default_model = "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";

/// Each text once, at its first place; the rest is told. A prompt that counted twice would pass for two independent ones.
/// @param file  where they come from
std::vector<Prompt> distinct(std::vector<Prompt> prompts, const std::string& file, const Common& common);

/// @param spec  "name" or "name:argument", as in length:24, lexicon:words.txt, encoder_head:FOLDER, process:COMMAND
/// A process reward waits as long as --reward-timeout says and ends when the program is to stop.
/// @throws ConfigError listing the known names
reward::Any open_reward(const std::string& spec, const Common& common);
/// One line on every reward, for --help.
extern const char* const reward_help;
std::string list_rewards();

/// How well a reward model agrees with texts it has not seen.
struct RewardQuality {
  Index trained_on = 0, judged_on = 0;
  double sign_accuracy = 0, pearson = 0, spearman = 0;
};
struct ScoredTexts {
  std::vector<std::string> texts;
  std::vector<double> scores;
};
/// Trains a linear head on a sentence encoder and keeps it in a folder that open_reward("encoder_head:FOLDER") reads.
RewardQuality train_reward(const std::filesystem::path& encoder, const ScoredTexts& training, const ScoredTexts& unseen,
                           const std::filesystem::path& folder);
}  // namespace vbon::program

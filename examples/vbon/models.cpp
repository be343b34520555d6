#include "models.hpp"

#include <unordered_set>

#include "vbon/io/utf8.hpp"
#include "vbon/policy/load.hpp"
#include "vbon/policy/peft.hpp"
#include "vbon/reward/training_data.hpp"
#include "vbon/rollout/prompts.hpp"
#include "vbon/text/chat_text.hpp"

namespace vbon::program {
std::vector<Prompt> distinct(std::vector<Prompt> prompts, const std::string& file, const Common& common) {
  std::unordered_set<std::string> seen;
  const auto repeated = std::erase_if(prompts, [&](const Prompt& prompt) { return !seen.insert(prompt.text).second; });
  if (repeated > 0)
    remark(common, message(file, ": ", repeated, " of ", prompts.size() + repeated,
                           " prompts stand there a second time and are left out"));
  return prompts;
}

struct Policy::Model {
  policy::CausalLmPolicy<Cpu> policy;

  rollout::PromptOptions prompt_options() const {
    rollout::PromptOptions options;
    options.tokenizer = [this](const std::string& text, bool templated) {
      return policy.tokenizer().encode(text, !templated);
    };
    if (policy.has_tokenizer() && !policy.tokenizer().chat_template().empty())
      options.chat = [this](std::span<const text::ChatMessage> messages) {
        return text::chat_text(policy.tokenizer(), messages, true);
      };
    return options;
  }
};

Session::Session(std::unique_ptr<policy::Session> session) : session_(std::move(session)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;
const std::vector<policy::Draft>& Session::drafts() const { return session_->drafts(); }
std::vector<Index> Session::live() const { return session_->live(); }
Index Session::room() const { return session_->room(); }
std::span<const TokenId> Session::end_tokens() const { return session_->end_tokens(); }
Tensor<float> Session::next_log_probs() { return session_->next_log_probs(); }
void Session::extend(Index tokens, RngKey key) { session_->extend(tokens, key); }
void Session::append(std::span<const TokenId> token) { session_->append(token); }
void Session::keep(std::span<const Index> numbers) { session_->keep(numbers); }

Policy::Policy(std::unique_ptr<Model> model) : model_(std::move(model)) {}
Policy::Policy(Policy&&) noexcept = default;
Policy& Policy::operator=(Policy&&) noexcept = default;
Policy::~Policy() = default;

void remark_bf16(const Common& common, bool bf16) {
  if ((bf16 || common.reward_bf16) && !kernel::multiplies_bfloat16)
    remark(
        common,
        message(
            bf16 ? "--bf16" : "--reward-bf16",
            ": this build has no instruction that multiplies bfloat16 faster than fp32 (AVX512-BF16 without AVX512-FP16, as "
            "AMD's since Zen 4, compiled with -march=native): "
            "products are rounded as asked and packed weights take half the memory, but batches take as long as in fp32"));
}

Policy Policy::load(const std::filesystem::path& path, const std::filesystem::path& adapter, bool bf16) {
  const auto place = path.empty() ? cached(default_model, "--model") : path;
  Model model{policy::load<Cpu>(place, bf16 ? kernel::Precision::bfloat16 : kernel::Precision::float32)};
  require<ConfigError>(model.policy.has_tokenizer(), place.string(),
                       " holds no tokenizer.json, and texts need one; copy the tokenizer's files of its base model there");
  if (!adapter.empty()) policy::load_adapter(model.policy.model(), adapter);
  return Policy(std::make_unique<Model>(std::move(model)));
}
Policy Policy::clone() const { return Policy(std::make_unique<Model>(Model{model_->policy.clone()})); }
void Policy::adapt(const LoraSettings& settings, RngKey key) {
  policy::add_adapter(model_->policy.model(), policy::LoraTargets::parse(settings.targets),
                      {.rank = settings.rank, .alpha = settings.alpha, .rank_stabilized = settings.rank_stabilized}, key);
}
void Policy::recompute() {
  auto& policy = model_->policy;
  const auto row = [&] { return model::kept_bytes_per_row(policy.shape(), policy.model().memory); };
  // The bound on what is kept decides how a batch is cut, and so in which order gradients are summed: it shrinks with
  // the bytes of a row.
  const Index rows = policy.passes.activation_bytes / row();
  policy.model().memory.recompute = true;
  policy.passes.activation_bytes = rows * row();
}
void Policy::keep_sampled(Index megabytes) { model_->policy.passes.recorded_bytes = megabytes << 20; }
Policy Policy::reference() const { return Policy(std::make_unique<Model>(Model{model_->policy.reference()})); }
void Policy::save(const std::filesystem::path& folder, io::Dtype dtype) const {
  policy::save(model_->policy, folder, {.dtype = dtype});
}
void Policy::save_adapter(const std::filesystem::path& folder, const std::string& base_name) const {
  policy::save_adapter(model_->policy.model(), folder, base_name);
}

policy::Sampler& Policy::sampler() { return model_->policy.sampler; }
bool Policy::bf16() const { return model_->policy.model().precision() == kernel::Precision::bfloat16; }
Index Policy::vocabulary() const { return model_->policy.shape().vocab; }
Index Policy::context() const { return model_->policy.shape().context; }

RolloutBatch Policy::sample(std::span<const Prompt> prompts, Index samples, RngKey key) {
  return model_->policy.sample(prompts, samples, key);
}
RolloutBatch Policy::sample_for_backward(std::span<const Prompt> prompts, Index samples, RngKey key) {
  return model_->policy.sample_for_backward(prompts, samples, key);
}
Session Policy::open(std::span<const Prompt> prompts, Index samples) {
  return Session(std::make_unique<policy::Session>(model_->policy.open(prompts, samples)));
}
Array Policy::log_prob(const RolloutBatch& batch) { return model_->policy.log_prob(batch); }
void Policy::backward(const RolloutBatch& batch, const Array& dlog_prob) { model_->policy.backward(batch, dlog_prob); }
std::vector<Index> Policy::cuts_for_backward(const RolloutBatch& batch, Index most_responses) const {
  return model_->policy.cuts_for_backward(batch, most_responses);
}
void Policy::backward_through(const RolloutBatch& batch, const std::function<Array(const Array&)>& gradient_of) {
  model_->policy.backward_through(batch, gradient_of);
}
Array Policy::kl(const RolloutBatch& batch, Policy& reference, Array* reference_log_prob) {
  return model_->policy.kl(batch, reference.model_->policy, reference_log_prob);
}
Tensor<float> Policy::features(const RolloutBatch& batch) { return model_->policy.features(batch); }
View<float> Policy::parameters() { return model_->policy.parameters(); }
View<float> Policy::gradients() { return model_->policy.gradients(); }
void Policy::zero_gradients() { model_->policy.zero_gradients(); }
void Policy::parameters_changed() { model_->policy.parameters_changed(); }

std::vector<Prompt> Policy::load_prompts(const std::filesystem::path& path) const {
  auto prompts = rollout::load_prompts(path, model_->prompt_options());
  require_room(prompts);
  return prompts;
}

std::vector<Preference> Policy::load_preferences(const std::filesystem::path& path) const {
  const auto options = model_->prompt_options();
  std::unordered_set<std::string> templated;  // prompts that hold their own special tokens
  const auto turns_to_text = [&](std::span<const text::ChatMessage> turns) {
    std::string said;
    for (const auto& turn : turns) {
      if (turn.role != "assistant") {
        require<ConfigError>(static_cast<bool>(options.chat), path.string(),
                             ": a conversation needs a chat template and this model has none; give texts instead");
        return *templated.insert(options.chat(turns)).first;
      }
      said += turn.content;
    }
    return said;  // what the assistant answers to the prompt
  };
  const auto& tokenizer = model_->policy.tokenizer();
  const auto& eos = model_->policy.sampler.eos;
  const auto answer = [&](const std::string& text) {
    auto tokens = tokenizer.encode(text, false);
    if (!eos.empty()) tokens.push_back(eos.front());
    return tokens;
  };
  std::vector<Preference> pairs;
  for (const auto& pair : reward::read_preferences(path, {.turns_to_text = turns_to_text, .margin = false})) {
    Preference next{.prompt = {.id = pairs.size(), .text = pair.prompt, .tokens = {}},
                    .chosen = answer(pair.chosen),
                    .rejected = answer(pair.rejected)};
    next.prompt.tokens = options.tokenizer(pair.prompt, templated.contains(pair.prompt));
    const std::size_t longest = next.prompt.tokens.size() + std::max(next.chosen.size(), next.rejected.size());
    require<FormatError>(!next.prompt.tokens.empty() && !next.chosen.empty() && !next.rejected.empty(), path.string(),
                         ": pair ", pairs.size() + 1, ": a prompt, a chosen and a rejected text expected, one is empty");
    require<DomainError>(static_cast<Index>(longest) <= context(), ErrorCode{"prompt_too_long"}, path.string(), ": pair ",
                         pairs.size() + 1, " ('", io::excerpt(pair.prompt), "') has ", longest,
                         " tokens, the model's context holds ", context(), "; shorten or remove it");
    pairs.push_back(std::move(next));
  }
  return pairs;
}

Prompt Policy::encoded(std::string text, std::uint64_t id) const {
  return model_->policy.encoded({.id = id, .text = std::move(text), .tokens = {}});
}

Prompt Policy::continued(Prompt prompt, const std::string& text) const {
  const auto more = tokenizer().encode(text, false);
  prompt.text += text;
  prompt.tokens.insert(prompt.tokens.end(), more.begin(), more.end());
  return prompt;
}
bool Policy::has_tokenizer() const { return model_->policy.has_tokenizer(); }
const text::Tokenizer& Policy::tokenizer() const { return model_->policy.tokenizer(); }

Prompt Policy::chat(const std::string& message, std::uint64_t id) const {
  const auto options = model_->prompt_options();
  require<ConfigError>(static_cast<bool>(options.chat), "this model has no chat template; use --prompt instead of --chat");
  const text::ChatMessage messages[] = {{"user", message}};
  Prompt prompt{.id = id, .text = options.chat(messages), .tokens = {}};
  prompt.tokens = options.tokenizer(prompt.text, true);
  return prompt;
}

void Policy::require_room(std::span<const Prompt> prompts) const {
  const Index most = model_->policy.sampler.max_new_tokens, room = std::max<Index>(0, context() - most);
  for (const auto& prompt : prompts)
    require<DomainError>(static_cast<Index>(prompt.tokens.size()) <= room, ErrorCode{"prompt_too_long"}, "prompt ",
                         prompt.id, " ('", io::excerpt(prompt.text), "') has ", prompt.tokens.size(),
                         " tokens; with --max-new-tokens ", most, " the model's context of ", context(), " leaves room for ",
                         room, ": shorten the prompt or lower --max-new-tokens");
}

io::Json Policy::sampler_settings() const {
  const auto& sampler = model_->policy.sampler;
  return {{"temperature", sampler.temperature},
          {"top_k", sampler.top_k},
          {"top_p", sampler.top_p},
          {"min_p", sampler.min_p},
          {"min_new_tokens", sampler.min_new_tokens},
          {"max_new_tokens", sampler.max_new_tokens},
          {"repetition_penalty", sampler.repetition_penalty}};
}
}  // namespace vbon::program

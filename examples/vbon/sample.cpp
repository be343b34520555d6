// vbon sample: draws responses and prints them.
#include "models.hpp"
#include "prompt_source.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/rollout/collect.hpp"

namespace vbon::program {
namespace {
struct SampleOptions {
  Common common;
  std::string model, adapter, reward;
  PromptSource source;
  Index samples = 1;
  policy::Sampler sampler = {.max_new_tokens = 64};
  bool greedy = false, json = false, bf16 = false;
};

int sample(const SampleOptions& o) {
  begin(o.common);
  o.source.check();
  check_count("--samples", o.samples, 1);
  check_count("--max-new-tokens", o.sampler.max_new_tokens, 1);
  require<ConfigError>(!o.common.reward_bf16 || !o.reward.empty(), "--reward-bf16 needs a --reward");
  remark_bf16(o.common, o.bf16);
  Policy policy = Policy::load(o.model, o.adapter, o.bf16);
  auto& sampler = policy.sampler();
  const auto eos = sampler.eos;
  sampler = o.sampler;
  sampler.eos = eos;
  if (o.greedy) sampler.temperature = 0;
  sampler.check();
  const auto prompts = o.source.load(policy);
  reward::Any reward;
  if (!o.reward.empty()) reward = open_reward(o.reward, o.common);

  const std::size_t chunk = static_cast<std::size_t>(std::max<Index>(1, 64 / o.samples));
  for (std::size_t first = 0; first < prompts.size() && !stop_requested(); first += chunk) {
    const auto part = std::span(prompts).subspan(first, std::min(chunk, prompts.size() - first));
    RolloutBatch batch = policy.sample(part, o.samples, RngKey{o.common.seed, 0});
    if (!o.reward.empty()) rollout::score(reward, batch);
    const Array log_prob = per_response(batch, batch.old_log_prob);
    for (Index p = 0; p < batch.prompts(); ++p)
      for (Index m = 0; m < batch.samples(p); ++m) {
        const Index i = batch.group_offset[static_cast<std::size_t>(p)] + m;
        const auto& prompt = part[static_cast<std::size_t>(p)].text;
        const auto& text = batch.text[static_cast<std::size_t>(i)];
        if (!o.json) {
          print_line((o.reward.empty() ? "" : message("[", batch.reward[i], "] ")) + prompt + text);
          continue;
        }
        nlohmann::ordered_json row = {{"prompt", prompt}, {"text", text}};
        if (!o.reward.empty()) row["reward"] = io::json_of(batch.reward[i]);
        row["log_prob"] = log_prob[i];
        row["tokens"] = batch.length(i);
        row["finished"] = batch.finished[static_cast<std::size_t>(i)] != 0;
        print_line(io::to_json_line(row));
      }
  }
  return stop_requested() ? stopped : 0;
}
}  // namespace

void add_sample(CLI::App& program, Job& job) {
  auto* c = program.add_subcommand("sample", "Draws responses of a model");
  auto o = std::make_shared<SampleOptions>();
  c->footer("Example: vbon sample --model vbon-run/model --prompt 'This film is' --samples 4 --max-new-tokens 24");
  c->add_option("--model", o->model, "GGUF file or Hugging Face folder; by default the fetched SmolLM2-135M-Instruct");
  c->add_option("--adapter", o->adapter, "LoRA adapter of that model, a peft folder");
  c->add_flag("--bf16", o->bf16, bf16_help);
  o->source.add_to(*c);
  c->add_option("--samples", o->samples, "responses per prompt")->capture_default_str();
  c->add_option("--max-new-tokens", o->sampler.max_new_tokens, "tokens of a response at most")->capture_default_str();
  c->add_option("--min-new-tokens", o->sampler.min_new_tokens, "no end of the response before")->capture_default_str();
  auto* temperature =
      c->add_option("--temperature", o->sampler.temperature, "0: always the most probable token")->capture_default_str();
  c->add_option("--top-k", o->sampler.top_k, "only the k most probable tokens; 0: all")->capture_default_str();
  c->add_option("--top-p", o->sampler.top_p, "only the most probable tokens of this mass together")->capture_default_str();
  c->add_option("--min-p", o->sampler.min_p, "only tokens with this share of the highest probability")
      ->capture_default_str();
  c->add_option("--repetition-penalty", o->sampler.repetition_penalty,
                "above 1: tokens that stand already become less probable")
      ->capture_default_str();
  c->add_flag("--greedy", o->greedy, "the same as --temperature 0")->excludes(temperature);
  c->add_option("--reward", o->reward, std::string("also print the reward; ") + reward_help);
  c->add_flag("--json", o->json,
              "JSON lines with text, log-prob and length; with --reward also the reward, and then a reference cache");
  add_common(*c, o->common);
  c->callback([o, &job] { job = [o] { return sample(*o); }; });
}
}  // namespace vbon::program

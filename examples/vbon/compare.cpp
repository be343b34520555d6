// vbon compare: several methods, trained or decoded from one model with the same prompts and the same reference responses,
// in one table.
//
//   load -> reward -> prompts -> reference cache -> (clone -> train -> evaluate, or decode) for each method -> table,
//   picture
//
// A method is a run of its own in OUT/methods; the one that was going on when the program was stopped goes on from its
// checkpoint, those that are done are read from their reports.
#include <chrono>
#include <optional>
#include <set>

#include "align_data.hpp"
#include "align_options.hpp"
#include "answers.hpp"
#include "decoders.hpp"
#include "models.hpp"
#include "objectives.hpp"
#include "reporting.hpp"
#include "settings.hpp"
#include "tabular.hpp"
#include "training.hpp"
#include "vbon/eval/comparison.hpp"
#include "vbon/io/atomic_file.hpp"
#include "vbon/io/jsonl.hpp"
#include "vbon/train/run_folder.hpp"
#include "vbon/train/trainer.hpp"

namespace vbon::program {
namespace {
struct CompareOptions {
  AlignOptions align;  // what all methods share
  std::vector<std::string> methods = {"vbon", "vbon_bound", "ppo",  "rloo",    "bond",           "jbond",
                                      "dpo",  "bonbon",     "wind", "bon_sft", "pkpo:beta=0.05", "infalign"};
  bool save_models = false;
  bool tabular = false;
  Index outcomes = 8;

  /// What all methods have in common, and their names.
  io::Json settings() const {
    io::Json all = align.settings();
    all.erase("objective");
    std::string names;
    for (const auto& method : methods) names += (names.empty() ? "" : " ") + method;
    all["methods"] = names;
    all["save-models"] = save_models;
    return all;
  }
};

/// One method: its name as it was given, its folder, what its training does, or the decoder that it is.
struct Entry {
  std::string name;
  std::filesystem::path folder;
  std::vector<train::Phase> plan = {};
  std::optional<AnyDecoder> decoder = {};
};

/// A folder's name: vbon_bound:side=mid is vbon-bound-side-mid.
std::string slug(const std::string& method) {
  std::string out;
  for (const char c : method) out += std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '+' ? c : '-';
  return out;
}

/// Tells what is wrong with a method before anything is loaded.
std::vector<Entry> entries(const CompareOptions& o) {
  require<ConfigError>(!o.methods.empty(), "--methods: at least one expected");
  std::vector<Entry> all;
  for (const auto& method : o.methods) {
    Entry& entry = all.emplace_back(Entry{method, std::filesystem::path(o.align.out) / "methods" / slug(method)});
    if (is_decoder(name_and_argument(method).first)) {
      entry.decoder = make_decoder(method);
      if (entry.decoder->votes) entry.decoder = make_decoder(method, answer_of(o.align.answer_pattern));
    } else {
      AlignOptions one = o.align;
      one.objective = method;
      try {
        entry.plan = phases(one);
      } catch (const ConfigError& error) {
        if (error.code() != "unknown_name") throw;
        throw ConfigError(message(error.what(), "; decoders: ", known_decoders()));
      }
      try_out(entry.plan, one);
    }
    for (std::size_t i = 0; i + 1 < all.size(); ++i)
      require<ConfigError>(all[i].folder != all.back().folder, "--methods: '", all[i].name, "' and '", method,
                           "' are the same method");
  }
  return all;
}

/// Sums a column of a JSON lines file that a training wrote.
double column_sum(const std::filesystem::path& file, const char* name) {
  double sum = 0;
  if (std::filesystem::exists(file))
    io::read_jsonl(file, [&](const io::Json& row, std::size_t) { sum += row.value(name, 0.0); });
  return sum;
}

/// All that the methods have in common.
struct Shared {
  const CompareOptions& options;
  const Policy& start;  // what each method is trained from
  Policy& reference;    // what it is held against
  const AlignData& data;
  const rollout::ReferenceCache &cache, &pool;
  const rollout::AnyCdf& cdf;
  Stages& stages;
};

void write_method_report(const Entry& entry, nlohmann::ordered_json report, double tokens, double calls) {
  report["spent"] = {{"sampled_tokens", tokens}, {"reward_calls", calls}};
  // The last file: where it stands the method is done.
  io::write_file_atomically(entry.folder / "report.json",
                            report.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

/// Trains and evaluates one method; ENTRY/report.json stands when it is done.
/// @throws RunError stopped, and what training throws
void run_method(const Entry& entry, const Shared& shared) {
  const AlignOptions& o = shared.options.align;
  io::make_folder(entry.folder);
  const RngKey seed{o.common.seed, 0};
  Policy policy = shared.start.clone();
  train::Trainer trainer(policy, shared.reference, shared.data.reward, shared.cache, shared.cdf,
                         optim::AdamW{.beta2 = 0.99, .weight_decay = o.weight_decay},
                         {.seed = o.common.seed,
                          .clip = o.clip,
                          .micro_batch = o.micro_batch,
                          .checkpoint_every = o.checkpoint_every,
                          .evaluate_every = o.evaluate_every,
                          .answer = answer_of(o.answer_pattern),
                          .folder = entry.folder});
  shared.stages.begin("train " + entry.name);
  std::unique_ptr<train::Progress> bar;
  std::string current;
  const auto few = std::span(shared.data.held_out).first(std::min<std::size_t>(shared.data.held_out.size(), 32));
  train::Callbacks callbacks;
  callbacks.step = [&](const train::StepReport& report) {
    if (current != report.phase) bar.reset(), current = report.phase;
    if (!bar) bar = shared.stages.bar(report.steps, report.step - 1);
    bar->update(report.step, figures(report.metrics));
  };
  callbacks.evaluate = [&](Index step) {
    return glance(policy, shared.data.reward, few, shared.pool, seed.fold(104).fold(static_cast<std::uint64_t>(step)));
  };
  callbacks.stop = [] { return stop_requested(); };
  const auto outcome = trainer.run(shared.data.training, entry.plan, callbacks);
  bar.reset();
  if (outcome == train::Outcome::stopped)
    throw RunError("stopped while '" + entry.name + "' was trained, everything is saved", ErrorCode{"stopped"});
  if (shared.options.save_models) {
    policy.save(entry.folder / "model");
    if (o.lora.rank > 0)
      policy.save_adapter(entry.folder / "adapter", o.model.empty() ? "HuggingFaceTB/SmolLM2-135M-Instruct" : o.model);
  }

  shared.stages.begin("evaluate " + entry.name);
  const auto start = std::chrono::steady_clock::now();
  eval::EvaluationOptions evaluation{.samples = o.evaluation_samples, .n = o.n, .key = seed.fold(103)};
  evaluation.progress = [&](Index done, Index total) {
    if (!bar) bar = shared.stages.bar(total, done);
    bar->update(done);
    return !stop_requested();
  };
  const auto result =
      eval::evaluate(policy, shared.reference, shared.data.reward, shared.data.held_out, shared.pool, evaluation);
  bar.reset();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const nlohmann::ordered_json times = {{"training_seconds", column_sum(entry.folder / "timing.jsonl", "step_seconds")},
                                        {"evaluation_seconds", seconds}};
  io::write_file_atomically(entry.folder / "times.json", times.dump(1) + "\n");
  const auto sum = [&](const char* column) { return column_sum(entry.folder / "metrics.jsonl", column); };
  write_method_report(entry, eval::report_json(result), sum("sampled_tokens"), sum("reward_calls"));
}

/// What one decoder gave for a prompt.
struct DecodedPrompt {
  std::vector<double> reward;
  double length = 0, ended = 0;  // sums over the responses
  decode::Counters spent;
};
nlohmann::ordered_json row_of(const Prompt& prompt, const std::vector<Decoded>& all) {
  nlohmann::ordered_json row = {{"prompt", prompt.text}};
  decode::Counters spent;
  for (const auto& decoded : all) {
    const auto& answer = decoded.answer();
    row["responses"].push_back({{"text", answer.text},
                                {"reward", io::json_of(answer.reward)},
                                {"length", answer.token.size()},
                                {"finished", answer.finished}});
    spent += decoded.counters;
  }
  row["tokens"] = spent.tokens;
  row["sequences"] = spent.sequences;
  row["reward_calls"] = spent.reward_calls;
  return row;
}
/// The prompts that an earlier start decoded, in their order.
std::vector<DecodedPrompt> decoded_before(const std::filesystem::path& file) {
  std::vector<DecodedPrompt> all;
  if (!std::filesystem::exists(file)) return all;
  const auto read = [&](const io::Json& row, std::size_t line) {
    const std::string where = message(file.string(), " line ", line);
    DecodedPrompt& one = all.emplace_back();
    const io::Json* responses = io::json_find(row, "responses");
    require<FormatError>(responses != nullptr && responses->is_array(), where, ": a list under \"responses\" expected");
    for (const auto& response : *responses) {
      const io::Json* value = io::json_find(response, "reward");
      const auto reward = value == nullptr ? std::nullopt : io::number_of(*value);
      require<FormatError>(reward.has_value(), where, ": a number under \"reward\" expected");
      one.reward.push_back(*reward);
      one.length += io::json_get<double>(response, "length", where);
      one.ended += io::json_get<bool>(response, "finished", where) ? 1 : 0;
    }
    one.spent = {.sequences = io::json_get<Index>(row, "sequences", where),
                 .tokens = io::json_get<Index>(row, "tokens", where),
                 .reward_calls = io::json_get<Index>(row, "reward_calls", where)};
  };
  io::read_jsonl(file, read, {.allow_cut_last_line = true});
  return all;
}

/// Decodes each held-out prompt as often as a trained policy is sampled there; prompts that are done stay done.
/// @throws RunError stopped, and what the decoder throws
void run_decoder(const Entry& entry, const Shared& shared) {
  const AlignOptions& o = shared.options.align;
  io::make_folder(entry.folder);
  const auto file = entry.folder / "decoded.jsonl";
  const auto prompts = std::span(shared.data.held_out);
  std::vector<DecodedPrompt> done = decoded_before(file);
  shared.stages.begin("decode " + entry.name);
  io::JsonlWriter out(file);
  auto bar = shared.stages.bar(static_cast<Index>(prompts.size()), static_cast<Index>(done.size()));
  const RngKey key = RngKey{o.common.seed, 0}.fold(103);
  while (done.size() < prompts.size()) {
    if (stop_requested())
      throw RunError("stopped while '" + entry.name + "' decoded, everything is saved", ErrorCode{"stopped"});
    const Prompt& prompt = prompts[done.size()];
    std::vector<Decoded> all;
    DecodedPrompt one;
    for (Index i = 0; i < o.evaluation_samples; ++i) {
      const Decoded& decoded = all.emplace_back(
          entry.decoder->decode(shared.reference, shared.data.reward, prompt, key.fold(static_cast<std::uint64_t>(i))));
      one.reward.push_back(decoded.reward());
      one.length += static_cast<double>(decoded.answer().token.size());
      one.ended += decoded.answer().finished ? 1 : 0;
      one.spent += decoded.counters;
    }
    out.append(row_of(prompt, all));
    done.push_back(std::move(one));
    bar->update(static_cast<Index>(done.size()));
  }
  bar.reset();

  std::vector<std::vector<double>> reward;
  double length = 0, ended = 0;
  decode::Counters spent;
  for (const auto& one : done) {
    reward.push_back(one.reward);
    length += one.length;
    ended += one.ended;
    spent += one.spent;
  }
  const double responses = static_cast<double>(done.size()) * static_cast<double>(o.evaluation_samples);
  const auto result =
      eval::evaluate_rewards(prompts, shared.pool, o.n, std::move(reward), length / responses, ended / responses);
  write_method_report(entry, eval::report_json(result), static_cast<double>(spent.tokens),
                      static_cast<double>(spent.reward_calls));
}

/// A failure that the methods after it would meet too, or that the user asked for.
bool ends_all(const Error& error) { return error.code() == "stopped" || error.code() == "no_space"; }

eval::ComparedMethod row_of(const Entry& entry) {
  const auto report = io::read_json<nlohmann::ordered_json>(entry.folder / "report.json");
  auto row = eval::compared_method(entry.name, report);
  row.sampled_tokens = report.at("spent").at("sampled_tokens").get<double>();
  row.reward_calls = report.at("spent").at("reward_calls").get<double>();
  return row;
}

void write_times(const std::filesystem::path& folder, const std::vector<Entry>& methods, const Stages& stages) {
  nlohmann::ordered_json times;
  for (const auto& entry : methods)
    if (std::filesystem::exists(entry.folder / "times.json"))
      times["methods"][entry.name] = io::read_json(entry.folder / "times.json");
  for (const auto& [name, seconds] : stages.times()) times["seconds of this start"][name] = seconds;
  times["resident_megabytes"] = train::resident_megabytes();
  io::write_file_atomically(folder / "times.json", times.dump(1) + "\n");
}

int compare(const CompareOptions& options) {
  const AlignOptions& o = options.align;
  begin(o.common);
  o.check();
  const auto methods = entries(options);
  const auto cdf = make_cdf(o.estimator);
  io::Json settings = options.settings();
  for (const auto& entry : methods)
    if (entry.decoder) {
      settings[entry.name] = entry.decoder->settings;
      if (!entry.decoder->dpo.empty()) set_place(settings, entry.name + " dpo", entry.decoder->dpo, "");
      if (!entry.decoder->value.empty()) set_reward(settings, entry.name + " value", entry.decoder->value, "");
    }
  train::RunFolder run(o.out,
                       {"compare",
                        {"methods", "reward", "plots", "references.jsonl", "held_out.jsonl", "compare.json", "compare.csv",
                         "compare.md", "compare.html", "times.json"}},
                       settings, o.overwrite);
  refuse_own_inputs(o, run);
  if (run.resumed()) remark(o.common, "going on with the comparison in " + run.path().string());
  Stages stages(o.common);

  for (const auto& entry : methods)
    if (entry.decoder) {
      if (!entry.decoder->note.empty()) remark(entry.decoder->doubtful ? Common{} : o.common, entry.decoder->note);
      entry.decoder->open_value(o.common);
    }
  stages.begin("load model");
  Policy start = starting_policy(o);
  for (const auto& entry : methods)
    if (entry.decoder) entry.decoder->open_dpo(o.model, start);
  const AlignData data = prepare_data(o, run, start, [&](const std::string& stage) { stages.begin(stage); });
  remark(o.common, data.summary);
  std::optional<Policy> frozen;  // the start without its adapter; a start that has none is the reference itself
  if (o.lora.rank > 0) frozen.emplace(start.reference());
  Policy& reference = frozen ? *frozen : start;

  const RngKey seed{o.common.seed, 0};
  stages.begin("references");
  const auto cache = references(reference, data.reward, data.training, run.path() / "references.jsonl", o.references,
                                seed.fold(101), stages);
  stages.begin("held-out references");
  const auto pool = references(reference, data.reward, data.held_out, run.path() / "held_out.jsonl", o.evaluation_references,
                               seed.fold(102), stages);

  auto comparison = eval::comparison_of(eval::evaluate_pool(data.held_out, pool, o.n), o.evaluation_samples);
  const std::string name =
      o.model.empty() ? "SmolLM2-135M-Instruct" : std::filesystem::path(o.model).lexically_normal().filename().string();
  comparison.title = message("Methods on ", name, ", beside the best of ", o.n);
  comparison.settings = settings_as_texts(settings);
  const Shared shared{options, start, reference, data, cache, pool, cdf, stages};
  std::string first_failure;
  Index failures = 0;
  for (const auto& entry : methods) {
    try {
      if (!std::filesystem::exists(entry.folder / "report.json"))
        entry.decoder ? run_decoder(entry, shared) : run_method(entry, shared);
      comparison.method.push_back(row_of(entry));
      train::CheckpointStore(entry.folder).remove();
    } catch (const Error& error) {
      if (ends_all(error)) throw;
      remark(o.common, "'" + entry.name + "' failed: " + error.what());
      comparison.method.push_back({.name = entry.name, .error = error.what()});
      if (failures++ == 0) first_failure = message("'", entry.name, "': ", error.what());
    }
  }
  stages.end();
  eval::compare_to_first(comparison);
  print_line("");
  for (const auto& line : eval::aligned_lines(eval::comparison_table(comparison))) print_line(line);
  write_comparison(o.common, run.path(), comparison);
  write_times(run.path(), methods, stages);
  // Not marked as finished: the same command tries again what failed.
  require<RunError>(failures == 0, failures, " of ", methods.size(), " methods failed; ", first_failure);
  run.mark_finished();
  return 0;
}
}  // namespace

void add_compare(CLI::App& program, Job& job) {
  auto* c = program.add_subcommand("compare",
                                   "Trains or decodes several methods on the same prompts and puts them into one table");
  auto o = std::make_shared<CompareOptions>();
  o->align.out = "vbon-comparison";
  o->align.warm_steps = 0;  // each method by itself
  o->align.add_to(*c);
  c->remove_option(c->get_option("--objective"));
  c->remove_option(c->get_option("--pairs"));  // not every method can learn from them
  c->get_option("--out")->description("folder of the comparison: compare.html, .md, .csv, .json, a folder of each method");
  c->get_option("--evaluation-prompts")
      ->description("held-out prompts; by default a fifth of --prompts, chosen by a hash of the text");
  c->footer(
      "Example: vbon compare --methods vbon rloo:beta=0.1 bond smc:particles=8 --steps 40 --out comparison\n"
      "All methods start from the same model and take the same references, steps and learning rate; none is warmed up "
      "unless\n"
      "--warm-steps says so. Decoders answer each held-out prompt --evaluation-samples times. Without --model, --reward "
      "and\n"
      "--prompts all aim at what 'vbon align' does.\n"
      "Stop with Ctrl-C at any time; the same command goes on where it stopped. A method that fails is told in the table, "
      "the\n"
      "others go on, and the same command tries it again.");
  c->add_option("--methods", o->methods,
                "objectives and decoders, NAME or NAME:option=value,...; see 'vbon inspect objectives' and "
                "'vbon inspect decoders'")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("What to align")
      ->capture_default_str();
  c->add_flag("--save-models", o->save_models, "keep the trained models, in OUT/methods/NAME/model")->group("What to align");
  const char* exact = "Exact comparison";
  c->add_flag("--tabular", o->tabular,
              "no language model: a policy over a few one-token responses, trained with exact gradients, and how far each "
              "method ends from its known optimum; reads --methods, --n, --outcomes, --seed, and writes where --out says")
      ->group(exact);
  c->add_option("--outcomes", o->outcomes, "responses of that policy, with random probabilities and rewards")
      ->group(exact)
      ->capture_default_str();
  static const std::set<std::string> known_to_tabular = {"methods", "n",        "seed", "threads",  "quiet",
                                                         "tabular", "outcomes", "out",  "overwrite"};
  c->callback([o, c, &job] {
    std::string unread;
    for (const CLI::Option* option : c->get_options({}))
      if (option->count() > 0 && !known_to_tabular.contains(option->get_single_name())) unread = option->get_name();
    job = [o, unread, chosen = c->count("--methods") > 0, outcomes_given = c->count("--outcomes") > 0,
           out_given = c->count("--out") > 0] {
      if (!o->tabular) {
        require<ConfigError>(!outcomes_given, "--outcomes is for --tabular");
        return compare(*o);
      }
      require<ConfigError>(unread.empty(), "--tabular does not read ", unread, "; see 'vbon compare --help'");
      return compare_tabular({.common = o->align.common,
                              .methods = chosen ? o->methods : std::vector<std::string>{},
                              .n = o->align.n,
                              .outcomes = o->outcomes,
                              .out = out_given ? o->align.out : std::string(),
                              .overwrite = o->align.overwrite});
    };
  });
}
}  // namespace vbon::program

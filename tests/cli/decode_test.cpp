// Every decoder that the registry holds runs from the command line: a new entry is met here without a word.
#include <fcntl.h>

#include <map>
#include <sstream>

#include "cli/support.hpp"
#include "vbon/decode/registry.hpp"
#include "vbon/io/file_lock.hpp"
#include "vbon/io/json.hpp"

namespace vbon::test {
namespace {
std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}
/// Names and what stands behind them, as `vbon inspect decoders` lists them.
std::map<std::string, std::string> listed() {
  std::map<std::string, std::string> out;
  for (const auto& line : lines(vbon({"inspect", "decoders"}).out))
    if (!line.empty() && line[0] != ' ') out[line.substr(0, line.find(':'))] = line.substr(line.find(':') + 1);
  return out;
}
/// Rewards are at most 0 here, so methods that must know the largest one run with their defaults.
const Arguments decoding = {"--model", tiny_model, "--reward", "length:4", "--max-new-tokens", "8"};
Arguments decodes(const std::string& decoder, const Arguments& more = {}) {
  return Arguments{"decode", "--decoder", decoder} + decoding + more;
}
const Arguments two_prompts = {"--prompt", "the film", "--prompt", "a good"};
const Arguments all_prompts = {"--prompts", tiny_prompts};

io::Json one_row(const std::string& decoder, const Arguments& more = {}) {
  const auto run = vbon(decodes(decoder, Arguments{"--prompt", "the film", "--json", "--quiet"} + more));
  INFO(decoder << ": " << run.err);
  REQUIRE(run.code == 0);
  REQUIRE(rows(run.out).size() == 1);
  return rows(run.out)[0];
}

/// Starts the command and sends the signal once its file holds that many lines; again if the command was faster.
Finished interrupted(const Arguments& command, const std::filesystem::path& file, int signal, std::ptrdiff_t after) {
  for (int attempt = 0;; ++attempt) {
    std::filesystem::remove(file);
    Process process(VBON_PROGRAM, command);
    for (int waited = 0; waited < 30000; ++waited) {
      const auto text = text_of(file);
      if (std::count(text.begin(), text.end(), '\n') >= after) break;
      ::usleep(1000);
    }
    process.kill(signal);
    const Finished finished = process.wait();
    if (finished.code != 0 || attempt == 9) return finished;
  }
}
}  // namespace

TEST_CASE("every decoder is listed with a line and answers each prompt at a stated cost", "[cli][decode]") {
  const auto known = listed();
  for_each_entry<decode::Registry>([&](const auto& entry) {
    const std::string name(entry.name);
    CAPTURE(name);
    REQUIRE(known.contains(name));
    CHECK(known.at(name).size() > 10);

    const auto run = vbon(decodes(name, two_prompts + Arguments{"--json", "--threads", "1"}));
    INFO(run.err);
    REQUIRE(run.code == 0);
    const auto answers = rows(run.out);
    REQUIRE(answers.size() == 2);
    Index tokens = 0, sequences = 0, calls = 0;
    for (std::size_t p = 0; p < 2; ++p) {
      const io::Json& row = answers[p];
      CHECK(row.at("prompt") == two_prompts[2 * p + 1]);
      CHECK(row.at("decoder") == name);
      CHECK(row.at("log_prob").get<double>() < 0);
      CHECK(row.at("length").get<Index>() >= 1);
      CHECK(row.at("length").get<Index>() <= 8);
      CHECK(row.at("tokens").get<Index>() >= row.at("length").get<Index>());
      CHECK(row.at("sequences").get<Index>() >= 1);
      CHECK(row.at("reward_calls").get<Index>() >= 1);
      const auto scored = vbon({"score", "--reward", "length:4", "--text", row.at("text").get<std::string>(), "--quiet"});
      CHECK(row.at("reward") == rows(scored.out).at(0).at("reward"));
      tokens += row.at("tokens").get<Index>();
      sequences += row.at("sequences").get<Index>();
      calls += row.at("reward_calls").get<Index>();
    }
    // The totals are one line.
    REQUIRE(lines(run.err).size() == 1);
    for (const auto& part : {message("2 prompts with ", name), message(tokens, " tokens"), message(sequences, " sequences"),
                             message(calls, " reward calls"), std::string("per prompt")})
      CHECK(has(run.err, part));

    const auto two = vbon(decodes(name, two_prompts + Arguments{"--json", "--threads", "2", "--quiet"}));
    CHECK(two.out == run.out);
    CHECK(two.err.empty());
  });
  CHECK(known.size() == std::tuple_size_v<decode::Registry> + 1);  // hedge chooses a setting of another
}

TEST_CASE("the cost of a decoder is the one its method states", "[cli][decode]") {
  const auto best = one_row("best_of_n:n=5");
  CHECK(best.at("sequences") == 5);
  CHECK(best.at("reward_calls") == 5);
  CHECK(best.at("tokens") <= 40);
  CHECK(one_row("majority_vote:n=6").at("reward_calls") == 6);
  const auto rounds = one_row("iad:rounds=3,n=2");
  CHECK(rounds.at("sequences") == 6);
  CHECK(rounds.at("reward_calls") == 6);
  const auto guided = one_row("controlled_decoding:top_k=3");  // three values a step, and the response itself
  CHECK(guided.at("reward_calls") == 3 * guided.at("length").get<Index>() + 1);
  CHECK(guided.at("tokens") == guided.at("length"));
  const auto unpruned = one_row("speculative_rejection:n=5,alpha=0,checkpoint=2");
  CHECK(unpruned.at("text") == best.at("text"));
  CHECK(unpruned.at("tokens") == best.at("tokens"));
  CHECK(one_row("speculative-rejection:alpha=0.5,n=5,checkpoint=2").at("tokens") < best.at("tokens"));
}

TEST_CASE("best-of-N picks among the responses that vbon sample draws", "[cli][decode]") {
  const Arguments both = decoding + all_prompts + Arguments{"--json", "--seed", "5", "--quiet"};
  const auto samples = rows(vbon(Arguments{"sample", "--samples", "3"} + both).out);
  const auto first = rows(vbon(Arguments{"sample"} + both).out);
  const auto one = rows(vbon(Arguments{"decode", "--decoder", "best_of_n:n=1"} + both).out);
  const auto best = rows(vbon(Arguments{"decode", "--decoder", "Best-of-n:n=3"} + both).out);
  CHECK(best.empty());  // names are in small letters
  const auto of_three = rows(vbon(Arguments{"decode", "--decoder", "best-of-n:n=3"} + both).out);
  REQUIRE(one.size() == 39);
  REQUIRE(of_three.size() == 39);
  REQUIRE(samples.size() == 3 * 39);
  for (std::size_t p = 0; p < one.size(); ++p) {
    CHECK(one[p].at("text") == first[p].at("text"));
    CHECK(one[p].at("length") == first[p].at("tokens"));
    CHECK(one[p].at("log_prob").get<double>() == Approx(first[p].at("log_prob").get<double>()));
    std::size_t chosen = 3 * p;
    for (std::size_t i = chosen + 1; i < 3 * p + 3; ++i)
      if (samples[i].at("reward") > samples[chosen].at("reward")) chosen = i;
    CHECK(of_three[p].at("text") == samples[chosen].at("text"));
  }
}

TEST_CASE("plain output is the prompt with its response behind the reward; --chat and --prompts are as in sample",
          "[cli][decode]") {
  const auto row = one_row("best_of_n");
  const auto plain = vbon(decodes("best_of_n", {"--prompt", "the film", "--quiet"}));
  CHECK(plain.out == message("[", row.at("reward").get<double>(), "] the film", row.at("text").get<std::string>(), "\n"));
  CHECK(plain.out == vbon(Arguments{"decode", "--prompt", "the film", "--quiet"} + decoding).out);  // the default decoder
  for (const std::string name : {"best_of_n", "iad"}) {
    const auto chat = vbon(decodes(name, {"--chat", "the film", "--json", "--quiet"}));
    INFO(chat.err);
    REQUIRE(chat.code == 0);
    CHECK(rows(chat.out)[0].at("prompt") == "<|user|>the film<|assistant|>");
  }
  CHECK(one_row("best_of_n", {"--temperature", "0"}).at("text") ==
        one_row("best_of_n:n=1", {"--temperature", "0"}).at("text"));
}

TEST_CASE("a killed command goes on with its file to the bytes of a whole run", "[cli][decode][resume]") {
  const TemporaryFolder folder;
  const std::string decoder = "smc:particles=96,block=1";  // long enough to be caught in the middle
  const auto to = [&](const char* name, const Arguments& more = {}) {
    return decodes(decoder, all_prompts + Arguments{"--quiet", "--out", (folder / name).string()} + more);
  };
  REQUIRE(vbon(to("whole")).code == 0);
  const std::string whole = text_of(folder / "whole");
  REQUIRE(lines(whole).size() == 39);
  CHECK(rows(whole)[7].at("settings").at("decoder.particles") == 96);

  CHECK(interrupted(to("killed"), folder / "killed", SIGKILL, 3).code == 128 + SIGKILL);
  const std::string part = text_of(folder / "killed");
  REQUIRE(part.size() < whole.size());
  CHECK(whole.starts_with(part));
  REQUIRE(vbon(to("killed", {"--threads", "2"})).code == 0);
  CHECK(text_of(folder / "killed") == whole);

  const auto stopped = interrupted(to("stopped"), folder / "stopped", SIGTERM, 3);
  CHECK(stopped.code == 130);
  INFO(stopped.err);
  CHECK(has(stopped.err, "of 39 prompts; the same command goes on from here"));
  REQUIRE(vbon(to("stopped")).code == 0);
  CHECK(text_of(folder / "stopped") == whole);

  // Killed inside a write, in the first line or in a later one.
  for (const std::size_t size : {std::size_t{5}, whole.find('\n') + 40, whole.find('\n')}) {
    CAPTURE(size);
    std::ofstream(folder / "half", std::ios::binary) << whole.substr(0, size);
    REQUIRE(vbon(to("half")).code == 0);
    CHECK(text_of(folder / "half") == whole);
  }

  // Nothing is left to do: the totals are those of the whole file.
  const auto again = vbon(decodes(decoder, all_prompts + Arguments{"--out", (folder / "whole").string()}));
  CHECK(again.code == 0);
  CHECK(has(again.err, message(
                           "39 prompts with smc: ",
                           [&] {
                             Index tokens = 0;
                             for (const auto& row : rows(whole)) tokens += row.at("tokens").get<Index>();
                             return tokens;
                           }(),
                           " tokens")));
  CHECK(text_of(folder / "whole") == whole);
}

TEST_CASE("a file that was made otherwise is refused by what differs, and stays as it is", "[cli][decode][error]") {
  const TemporaryFolder folder;
  const std::string file = (folder / "out.jsonl").string(), words = (folder / "words.txt").string();
  std::filesystem::copy_file(data_folder + "/tiny_lexicon.txt", words);
  const Arguments base = {"decode",   "--model",  tiny_model, "--reward", "lexicon:" + words, "--out", file,
                          "--prompt", "the film", "--prompt", "a good",   "--max-new-tokens", "6",     "--quiet"};
  REQUIRE(vbon(base).code == 0);
  const auto before = text_of(file);
  std::filesystem::copy(tiny_model, folder / "model", std::filesystem::copy_options::recursive);
  const std::vector<std::pair<Arguments, Arguments>> other = {
      {{"--seed", "2"}, {"seed = 1", "seed = 2"}},
      {{"--max-new-tokens", "7"}, {"max-new-tokens = 6", "= 7"}},
      {{"--temperature", "0.5"}, {"temperature = 1", "= 0.5"}},
      {{"--decoder", "majority_vote:n=4"}, {"decoder = \"best_of_n\"", "\"majority_vote\""}},
      {{"--decoder", "best_of_n:n=5"}, {"decoder.n = 4", "= 5"}},
      {{"--decoder", "best_of_n:worst=true"}, {"decoder.worst = false", "= true"}},
      {{"--reward", "length"}, {"reward = \"lexicon:", "\"length\""}},
      {{"--model", (folder / "model").string()}, {"model = "}},
  };
  for (const auto& [flags, parts] : other) {
    INFO(flags[0] << " " << flags[1]);
    check_refused(vbon(base + flags), "vbon decode", parts + Arguments{"out.jsonl line 1", "another --out"});
    CHECK(text_of(file) == before);
  }
  Arguments one_less = base;
  one_less.erase(one_less.begin() + 7, one_less.begin() + 9);
  check_refused(vbon(one_less), "vbon decode", {"out.jsonl line 1", "another prompt", "'a good'"});
  check_refused(vbon(one_less + Arguments{"--prompt", "the film"}), "vbon decode", {"another prompt"});
  one_less = base;
  one_less.erase(one_less.begin() + 9, one_less.begin() + 11);
  check_refused(vbon(one_less), "vbon decode", {"out.jsonl line 2", "only 1 prompt"});
  std::ofstream(words, std::ios::app) << "film\t9\n";
  check_refused(vbon(base), "vbon decode", {"content of reward"});
  CHECK(text_of(file) == before);
  Arguments copied = base;
  copied[2] = (folder / "model").string(), copied[6] = (folder / "copied.jsonl").string();
  REQUIRE(vbon(copied).code == 0);
  std::ofstream(folder / "model" / "answers.jsonl") << "\n";  // beside the model, not of it
  CHECK(vbon(copied).code == 0);
  std::ofstream(folder / "model" / "config.json", std::ios::app) << "\n";
  check_refused(vbon(copied), "vbon decode", {"content of model"});
  {
    const io::FileHandle holder(::open(file.c_str(), O_RDWR));
    REQUIRE(io::lock_file(holder));
    check_refused(vbon(base), "vbon decode", {"another program is writing", "out.jsonl"});
  }

  // Not ours: neither appended to nor cut.
  for (const std::string text : {"some notes without a line end", "{\"prompt\":\"a\",\"text\":\"b\"}\n", "notes\n", "\n"}) {
    CAPTURE(text);
    const auto path = folder / "notes.txt";
    std::ofstream(path, std::ios::binary) << text;
    check_refused(vbon(base + Arguments{"--out", path.string()}), "vbon decode", {"notes.txt"});
    CHECK(text_of(path) == text);
  }
  check_refused(vbon(base + Arguments{"--out", (folder / "model").string()}), "vbon decode", {"--out", "is no file"});
  check_refused(vbon(base + Arguments{"--out", "/absent/out.jsonl"}), "vbon decode", {"/absent/out.jsonl"});
}

TEST_CASE("calibration pairs choose the N that decode then draws", "[cli][decode]") {
  const TemporaryFolder folder;
  const auto pairs = folder / "calibration.jsonl";
  const Arguments calibrate = {
      "calibrate",        "--model", tiny_model, "--reward", "length:4", "--true-reward", "length:4", "--samples",   "8",
      "--max-new-tokens", "8",       "--prompt", "the film", "--prompt", "a good",        "--out",    pairs.string()};
  const auto run = vbon(calibrate);
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK(run.out.find("largest true reward at 8, the end of the curve") != std::string::npos);  // both rewards are one
  const auto printed = lines(run.out);
  const auto written = rows(text_of(pairs));
  REQUIRE(written.size() == 16);
  for (const auto& row : written) CHECK(row.at("proxy") == row.at("true"));
  // The same command goes on, also behind half a line of a prompt's; another has another file.
  const auto whole = text_of(pairs);
  std::ofstream(pairs, std::ios::binary) << whole.substr(0, whole.find("{\"prompt\"", whole.size() / 3) + 20);
  CHECK(vbon(calibrate).code == 0);
  CHECK(text_of(pairs) == whole);
  CHECK(vbon(calibrate).code == 0);
  CHECK(text_of(pairs) == whole);
  check_refused(vbon(calibrate + Arguments{"--samples", "9"}), "vbon calibrate", {"samples = 8", "= 9", "another --out"});
  CHECK(one_row("hedge:calibration=" + pairs.string() + ",largest=6").at("sequences") == 6);

  for (const auto& [part, count] :
       {std::pair("n of best_of_n:", 1), std::pair("mu of best_of_poisson:", 1),
        std::pair("lambda of soft_best_of_n with n = 8:", 1), std::pair("beta of pessimism with a large n:", 1),
        std::pair("  largest true reward", 4)}) {
    INFO(part);
    CHECK(std::count_if(printed.begin(), printed.end(),
                        [&, &part = part](const auto& line) { return line.starts_with(part); }) == count);
  }

  // The judge likes what the proxy likes least: one draw is best.
  std::ofstream(folder / "against.jsonl") << R"({"proxy":1,"true":1})"
                                             "\n"
                                             R"({"proxy":2,"true":0})"
                                             "\n";
  const auto against = vbon(decodes("hedge:calibration=" + (folder / "against.jsonl").string(), {"--prompt", "the film"}));
  CHECK(against.code == 0);
  CHECK(against.err.find("best_of_n with n = 1") != std::string::npos);
}

TEST_CASE("hedging takes lambda of soft best-of-N and beta of pessimism from the pairs", "[cli][decode]") {
  const TemporaryFolder folder;
  const auto write = [&](const char* name, const std::vector<std::pair<double, double>>& pairs) {
    std::ofstream out(folder / name);
    for (const auto& [proxy, truth] : pairs) out << io::Json{{"proxy", proxy}, {"true", truth}}.dump() << '\n';
    return "hedge:calibration=" + (folder / name).string();
  };
  // The proxy is right but for its favourite, which is bad: it should be followed a little. Its spread is 2.
  const auto mixed = write("mixed", {{-3, 0}, {-1, 2}, {-1, 2}, {1, 3}, {1, 3}, {3, -1}});
  const auto note = [&](const std::string& decoder) {
    const auto run = vbon(decodes(decoder, {"--prompt", "the film"}));
    INFO(run.err);
    REQUIRE(run.code == 0);
    return lines(run.err).at(0);
  };
  const auto soft = note(mixed + ",setting=soft-best-of-n,n=5");
  for (const auto& part : {"hedge: soft_best_of_n with lambda = ", " and n = 5;", "true reward ", ", of one draw "})
    CHECK(has(soft, part));
  CHECK(!has(soft, "lambda = 0 "));
  CHECK(!has(soft, "end of the curve"));
  CHECK(!has(soft, "extrapolation"));
  CHECK(one_row(mixed + ",setting=soft_best_of_n,n=5").at("sequences") == 5);
  CHECK(one_row(mixed + ",setting=soft_best_of_n").at("sequences") == 6);  // as many as there are pairs
  CHECK(has(note(mixed + ",setting=soft_best_of_n"), " and n = 6, as many as a prompt has pairs"));
  CHECK(has(note(mixed + ",setting=soft_best_of_n,n=7"),
            "beyond the 6 pairs that a prompt has the curve is an extrapolation"));
  const auto pessimism = note(mixed + ",setting=pessimism,n=3,r_max=0");
  CHECK(has(pessimism, "hedge: pessimism with beta = "));
  CHECK(has(pessimism, " and n = 3;"));
  CHECK(!has(pessimism, "end of the curve"));
  CHECK(one_row(mixed + ",setting=pessimism,n=3,r_max=0").at("sequences") >= 4);
  check_refused(vbon(decodes(mixed + ",setting=pessimism,r_max=-99", {"--prompt", "the film", "--quiet"})), "vbon decode",
                {"pessimism", "r_max = -99"});

  // A proxy that is right is followed to the end, and the note says what that is worth.
  const auto right = write("right", {{-3, -3}, {-1, -1}, {1, 1}, {3, 3}});
  CHECK(has(note(right + ",setting=soft_best_of_n"),
            " and n = 4, as many as a prompt has pairs; with so small a lambda it is best_of_n"));
  CHECK(has(note(right + ",setting=pessimism"), "; with so small a beta all weight is on the best"));
  const auto capped = note(right);
  CHECK(has(capped, "best_of_n with n = 4; the curve goes up to 4 draws, as many as a prompt has pairs; this is the end"));
  CHECK(has(capped, "give more pairs a prompt, or a larger 'largest'"));
  const auto quiet = [&](const std::string& decoder) {
    return vbon(decodes(decoder, {"--prompt", "the film", "--quiet"})).err;
  };
  CHECK(has(quiet(right), "this is the end of the curve"));
  CHECK(quiet(mixed).empty());
  const auto beyond = note(right + ",largest=6");
  CHECK(has(beyond, "best_of_n with n = 6; this is the end of the curve, which may rise further: give a larger 'largest'"));
  CHECK(has(beyond, "beyond the 4 pairs that a prompt has the curve is an extrapolation"));
  CHECK(has(note(right + ",setting=best_of_poisson"), "best_of_poisson with mu = 3; the curve goes up to 4 draws"));

  // Options that would say nothing, and proxies that pessimism cannot compute with.
  const auto refused = [&](const std::string& decoder, const Arguments& parts) {
    INFO(decoder);
    check_refused(vbon(decodes(decoder, {"--prompt", "the film", "--quiet"})), "vbon decode", parts);
  };
  refused(right + ",n=4", {"option n says nothing for setting=best_of_n", "leave it out"});
  refused(right + ",r_max=4", {"option r_max says nothing for setting=best_of_n"});
  refused(right + ",setting=soft_best_of_n,largest=4", {"option largest says nothing for setting=soft_best_of_n"});
  refused(right + ",setting=soft_best_of_n,r_max=4", {"option r_max says nothing"});
  refused(right + ",setting=pessimism,largest=4", {"option largest says nothing for setting=pessimism"});
  refused(right + ",setting=soft_best_of_n,n=0", {"option n: at least 1 expected, got 0"});
  refused(right + ",largest=0", {"option largest: at least 1 expected, got 0"});
  refused(right + ",setting=lambda", {"option setting: one of best_of_n", "pessimism", "'lambda'"});
  std::ofstream(folder / "dead") << "{\"proxy\":\"-inf\",\"true\":0}\n{\"proxy\":1,\"true\":1}\n";
  const auto dead = "hedge:calibration=" + (folder / "dead").string();
  refused(dead + ",setting=pessimism", {"pessimism computes with the proxies", "-inf", "choose best_of_n"});
  CHECK(has(note(dead + ",setting=soft_best_of_n"), "soft_best_of_n with lambda = "));
}

TEST_CASE("TreeBoN takes a DPO policy as a model or as an adapter of the one that samples", "[cli][decode]") {
  const TemporaryFolder folder;
  // Any other weights make an implicit reward.
  const auto trained =
      vbon(tiny_align(folder / "run", {"--lora-rank", "2", "--warm-steps", "0", "--steps", "3", "--learning-rate", "1e-1"}));
  INFO(trained.err);
  REQUIRE(trained.code == 0);
  const std::string model = (folder / "run/model").string(), adapter = (folder / "run/adapter").string();
  const std::string tree = "treebon:n=8,children=2,layers=3,segment=2";
  const auto plain = one_row(tree), by_model = one_row(tree + ",dpo=" + model),
             by_adapter = one_row(tree + ",dpo=" + adapter);
  CHECK(by_model.at("reward_calls") == 8);  // the last layer alone
  CHECK(plain.at("reward_calls") > 8);
  for (const char* key : {"text", "reward", "tokens", "sequences"}) CHECK(by_model.at(key) == by_adapter.at(key));
  CHECK(one_row(tree + ",weight=uniform,dpo=" + model).at("reward_calls") == 8);
  // Some prompt is answered otherwise than by the policy itself, whose implicit reward is 0 everywhere.
  const auto answers = [&](const std::string& dpo, const Arguments& more = {}) {
    const auto run = vbon(decodes(tree + ",dpo=" + dpo, all_prompts + Arguments{"--json", "--quiet"} + more));
    INFO(run.err);
    REQUIRE(run.code == 0);
    return run.out;
  };
  CHECK(answers(model) != answers(tiny_model));
  CHECK(answers(model) == answers(model, {"--threads", "2"}));

  // What another vocabulary says of tokens is nothing.
  const auto other = folder / "other";
  std::filesystem::copy(tiny_model, other);
  std::string tokens = text_of(other / "tokenizer.json");
  for (const auto& [from, to] : {std::pair("\"x\": 27", "\"x\": 29"), std::pair("\"z\": 29", "\"z\": 27")}) {
    REQUIRE(has(tokens, from));
    tokens.replace(tokens.find(from), std::string(from).size(), to);
  }
  std::ofstream(other / "tokenizer.json") << tokens;
  const auto refused = [&](const std::string& decoder, const Arguments& parts) {
    INFO(decoder);
    check_refused(vbon(decodes(decoder, {"--prompt", "the film"})), "vbon decode", parts);
  };
  refused(tree + ",dpo=" + other.string(),
          {"dpo=", "another vocabulary", "token 27 is 'z' there and 'x' here", "trained from the one that samples"});
  std::string config = text_of(other / "config.json");
  config.replace(config.find("embeddings\": 64"), 15, "embeddings\": 32");
  std::filesystem::copy_file(std::filesystem::path(tiny_model) / "tokenizer.json", other / "tokenizer.json",
                             std::filesystem::copy_options::overwrite_existing);
  std::ofstream(other / "config.json") << config;
  refused(tree + ",dpo=" + other.string(), {"dpo=", "a context of 32 tokens", "64", "whose context is as long"});
  refused(tree + ",dpo=" + data_folder, {"config.json"});

  // Its content is a setting of the file that is gone on with.
  const auto out = (folder / "out.jsonl").string();
  const Arguments once = decodes(tree + ",dpo=" + model, two_prompts + Arguments{"--quiet", "--out", out});
  REQUIRE(vbon(once).code == 0);
  CHECK(vbon(once).code == 0);
  CHECK(rows(text_of(out))[0].at("settings").contains("content of decoder.dpo"));
  std::ofstream(std::filesystem::path(model) / "config.json", std::ios::app) << "\n";
  check_refused(vbon(once), "vbon decode", {"content of decoder.dpo", "another --out"});
}

TEST_CASE("controlled decoding is steered by a value of its own and scored by the reward", "[cli][decode]") {
  const TemporaryFolder folder;
  const std::string words = (folder / "words.txt").string();
  std::filesystem::copy_file(data_folder + "/tiny_lexicon.txt", words);
  const std::string guided = GENERATE("controlled_decoding:beta=0.01,top_k=0", "controlled_blocks:k=6,block=1");
  CAPTURE(guided);
  const auto same = one_row(guided + ",value=length:4"), plain = one_row(guided);
  CHECK(same.at("text") == plain.at("text"));
  CHECK(same.at("reward_calls") == plain.at("reward_calls"));
  const auto by_words = one_row(guided + ",value=lexicon:" + words);
  CHECK(by_words.at("text") != plain.at("text"));
  const auto scored = vbon({"score", "--reward", "length:4", "--text", by_words.at("text").get<std::string>(), "--quiet"});
  CHECK(by_words.at("reward") == rows(scored.out).at(0).at("reward"));

  const auto out = (folder / "out.jsonl").string();
  const Arguments once = decodes(guided + ",value=lexicon:" + words, {"--prompt", "the film", "--quiet", "--out", out});
  REQUIRE(vbon(once).code == 0);
  CHECK(vbon(once).code == 0);
  check_refused(vbon(decodes(guided, {"--prompt", "the film", "--quiet", "--out", out})), "vbon decode", {"decoder.value"});
  std::ofstream(words, std::ios::app) << "film\t9\n";
  check_refused(vbon(once), "vbon decode", {"content of decoder.value", "another --out"});
}

TEST_CASE("a reward of -inf is refused by decoders that compute with it, with what to do", "[cli][decode][error]") {
  const TemporaryFolder folder;
  const auto script = (folder / "dead.sh").string();
  std::ofstream(script) << "while read -r line; do\n"
                           "  echo \"$line\" | sed 's/.*\"id\": *\\([0-9]*\\).*/{\"id\": \\1, \"reward\": -Infinity}/'\n"
                           "done\n";
  const auto run = [&](const std::string& decoder) {
    return vbon(decodes(decoder, {"--reward", "process:sh " + script, "--prompt", "the film", "--json", "--quiet"}));
  };
  for (const std::string name : {"pessimism", "soft_best_of_n", "controlled_decoding:top_k=2"}) {
    INFO(name);
    check_refused(run(name), "vbon decode", {name.substr(0, name.find(':')), "finite score", "-inf", "best_of_n"});
  }
  check_refused(run("smc:particles=2"), "vbon decode", {"smc: all weights are 0", "more particles", "force_end=false"});
  check_refused(run("rejection:r_max=0,tries=2,fallback=fail"), "vbon decode",
                {"none of 2 responses", "more tries", "fallback=fresh"});
  const auto fresh = run("rejection:r_max=0,tries=2");  // each try is a rejection
  INFO(fresh.err);
  REQUIRE(fresh.code == 0);
  CHECK(rows(fresh.out).at(0).at("reward") == "-inf");
  CHECK(rows(fresh.out).at(0).at("sequences") == 3);
}

TEST_CASE("rounds of IAD that no longer fit the context are left out with a note", "[cli][decode]") {
  const std::string prompt = "the film was good and the plot was good and the film was bad and the plot was dull and the";
  const auto run = vbon(decodes("iad:rounds=3,n=2", {"--prompt", prompt, "--json"}));
  INFO(run.err);
  REQUIRE(run.code == 0);
  const auto row = rows(run.out).at(0);
  CHECK(row.at("sequences") == 2);
  for (const auto* text : {&run.err, &row.at("note").get_ref<const std::string&>()})
    for (const auto& part : {"iad: round 2 of 3 did not fit", "context holds 64", "shorten the prompt", "shorter responses"})
      CHECK(has(*text, part));
  CHECK(!one_row("iad:rounds=3,n=2").contains("note"));
}

TEST_CASE("a pattern says which responses agree", "[cli][decode]") {
  // Responses agree when they begin with the same character.
  const auto row = one_row("majority-vote:n=3", {"--answer-pattern", "^."});
  CHECK(row.at("sequences") == 3);
  check_refused(vbon(decodes("majority-vote", {"--prompt", "a", "--answer-pattern", "("})), "vbon decode",
                {"--answer-pattern", "does not compile"});
  check_refused(vbon(decodes("best_of_n", {"--prompt", "a", "--answer-pattern", "."})), "vbon decode",
                {"--answer-pattern", "best_of_n", "majority_vote"});
  check_refused(vbon(decodes("best_of_n:n=2,n=3", {"--prompt", "a"})), "vbon decode", {"'n' is given twice"});
  check_refused(vbon(decodes("best_of_n", {"--prompt", "caf\xE9"})), "vbon decode", {"--prompt", "is not UTF-8: byte 3"});
}

TEST_CASE("wrong names and values are refused before a model is loaded, with what is known", "[cli][decode][error]") {
  const std::vector<std::pair<std::string, Arguments>> decoders = {
      {"beam", {"unknown decoder 'beam'", "best_of_n", "controlled_decoding", "treebon"}},
      {"best-of-m", {"unknown decoder 'best-of-m'", "did you mean best_of_n?", "majority_vote"}},
      {"", {"--decoder:", "leave the flag out"}},
      {"hedge", {"hedge", "calibration is missing", "vbon calibrate"}},
      {"hedge:calibration=/absent.jsonl", {"/absent.jsonl"}},
      {"hedge:calibratoin=x", {"hedge", "unknown option 'calibratoin'", "did you mean calibration?"}},
      {"speculative-rejection:alpa=0.5",
       {"speculative_rejection", "unknown option 'alpa'", "did you mean alpha?", "checkpoint"}},
      {"best_of_n:temperature=1", {"unknown option 'temperature'", "n, worst"}},
      {"best_of_n:n", {"best_of_n", "option=value", "'n'"}},
      {"best_of_n:n=four", {"best_of_n", "option n", "whole number", "'four'"}},
      {"best_of_n:n=2.5", {"option n", "whole number", "'2.5'"}},
      {"best_of_n:n=0", {"best_of_n", "n >= 1", "0"}},
      {"best_of_n:n=1000000000000", {"option n", "up to 1000000", "1000000000000"}},
      {"best_of_n:worst=maybe", {"option worst", "true or false", "'maybe'"}},
      {"majority-vote:n=-1", {"majority_vote", "n >= 1", "-1"}},
      {"soft_best_of_n:lambda=-1", {"soft_best_of_n", "lambda >= 0", "-1"}},
      {"soft_best_of_n:lambda=nan", {"option lambda", "a number", "'nan'"}},
      {"best_of_poisson:mu=701", {"mu in [0, 700]", "701"}},
      {"rejection:beta=0", {"rejection", "beta > 0", "0"}},
      {"rejection:r_max=inf", {"finite r_max", "inf"}},
      {"rejection:fallback=worst", {"option fallback", "fresh, best, fail", "'worst'"}},
      {"pessimism:beta=-2", {"pessimism", "beta > 0", "-2"}},
      {"speculative_rejection:alpha=1", {"alpha in [0, 1)", "1"}},
      {"speculative_rejection:checkpoint=0", {"checkpoint >= 1", "0"}},
      {"treebon:n=6", {"treebon", "multiple of children = 4", "6"}},
      {"treebon:layers=0", {"layers >= 1", "0"}},
      {"treebon:dpo=/absent/policy", {"treebon", "option dpo", "'/absent/policy'", "GGUF file", "LoRA adapter"}},
      {"treebon:weight=mean", {"treebon", "weight", "give dpo too"}},
      {"treebon:weight=even", {"option weight", "inverse_length, uniform, mean", "'even'"}},
      {"controlled_decoding:value=kindness", {"unknown reward 'kindness'", "lexicon"}},
      {"controlled_decoding:value=lexicon:/absent.txt", {"/absent.txt"}},
      {"smc:ess_threshold=2", {"ess_threshold in [0, 1]", "2"}},
      {"smc:scheme=fair", {"option scheme", "systematic, stratified, multinomial, residual", "'fair'"}},
      {"controlled_decoding:top-k=-1", {"top_k >= 0", "-1"}},
      {"controlled_blocks:block=0", {"block >= 1", "0"}},
      {"iad:rounds=0", {"iad", "rounds >= 1", "0"}},
  };
  for (const auto& [decoder, parts] : decoders) {
    INFO(decoder);
    check_refused(vbon({"decode", "--model", "/absent", "--reward", "length", "--prompt", "a", "--decoder", decoder}),
                  "vbon decode", parts);
  }
  const std::vector<std::pair<Arguments, Arguments>> flags = {
      {{"--max-new-tokens", "0"}, {"--max-new-tokens in [1, 1000000]", "0"}},
      {{"--max-new-tokens", "many"}, {"--max-new-tokens", "many"}},
      {{"--temperature", "-1"}, {"--temperature in [1e-6, 1e6], or 0", "-1"}},
      {{"--temperature", "nan"}, {"--temperature in [1e-6, 1e6], or 0", "nan"}},
      {{"--threads", "-1"}, {"--threads in [0, 1024]", "-1"}},
      {{"--reward", "kindness"}, {"unknown reward 'kindness'", "lexicon"}},
      {{"--reward", "lexicon:/absent.txt"}, {"/absent.txt"}},
      {{"--decodr", "iad"}, {"unknown flag '--decodr'", "--decoder"}},
      {{"--model", "/absent/model.gguf"}, {"/absent/model.gguf"}},
      {{"--prompts", "/absent.jsonl"}, {"/absent.jsonl"}},
  };
  for (const auto& [flag, parts] : flags) {
    INFO(flag[0] << " " << flag[1]);
    check_refused(vbon(decodes("best_of_n", Arguments{"--prompt", "a"} + flag)), "vbon decode", parts);
  }
  check_refused(vbon({"decode", "--model", tiny_model, "--prompt", "a"}), "vbon decode", {"--reward is missing", "length"});
  check_refused(vbon(decodes("best_of_n")), "vbon decode", {"--prompt TEXT", "--chat TEXT", "--prompts FILE"});
  check_refused(vbon(decodes("best_of_n", {"--prompt", "the film", "--max-new-tokens", "64"})), "vbon decode",
                {"context of 64", "--max-new-tokens"});
  check_refused(vbon({"decode", "--model", tiny_model, "--reward", tiny_reward, "--prompt", "a", "--decoder",
                      "rejection:r_max=-100", "--max-new-tokens", "8"}),
                "vbon decode", {"rejection", "r_max = -100"});
}
}  // namespace vbon::test

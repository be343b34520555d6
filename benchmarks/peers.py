"""The main job and its phases by vbon and by PyTorch, transformers, TRL and llama.cpp, in turn, on the same weights.

    sh benchmarks/peers.sh                     # installs the peers into a folder of their own and runs this
    PYTHON benchmarks/peers.py build/release   # with a Python that has what peers.sh installs

Each phase runs in rounds, vbon and its peers in turn, each in a process of its own; the table has the median (and the least)
of each and the ratio of the medians, in which more than 1 means that vbon is faster. What is compared is checked:
log-probabilities of the same tokens in every storage and precision that is timed, rewards of the same texts and the law of
sampled first tokens (by chi-square) before anything is timed, loss and gradient of the batch of a training step before the
step is, what the whole job did before its row is printed. Nothing else may run meanwhile. What the peers do stands in
peers_phases.py and peers_torch.py, the whole job in peers_job.py.
"""
import argparse, dataclasses, functools, importlib.metadata, json, math, os, pathlib, re, shutil, statistics, subprocess, sys, tempfile

import numpy, tokenizers, torch, transformers

import peers_job, peers_phases
from peers_phases import LlamaCpp, LogBon, PublishedLogBon, Scoring, generated, language_model, new_tokens, starts
from peers_torch import draw, padded, response_log_probs, sample

available = len(os.sched_getaffinity(0))
arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("build", type=pathlib.Path, help="build folder with examples/vbon and benchmarks/benchmark.model")
arguments.add_argument("--rounds", type=int, default=3, help="of each phase (3)")
arguments.add_argument("--threads", type=int, default=available, help="of the peers, and of vbon in the whole job (all)")
arguments.add_argument("--only", default="", help="phases whose names hold this")
arguments.add_argument("--job-rounds", type=int, default=3, help="of the whole job (3; 0: none)")
arguments.add_argument("--job-prompts", type=int, default=64, help="prompts of the whole job, with 32 references each (64)")
arguments.add_argument("--job-steps", type=int, default=20, help="steps of the whole job (20)")
arguments.add_argument("--keep-memory", action="store_true",
                       help="run the peers with a C library that keeps the memory they give back, and asks for huge pages")
options = arguments.parse_args()
for name, least, most in (("rounds", 1, math.inf), ("threads", 1, available), ("job-rounds", 0, math.inf),
                          ("job-prompts", 2, math.inf), ("job-steps", 2, math.inf)):
    if not least <= (given := getattr(options, name.replace("-", "_"))) <= most:
        arguments.error(f"--{name}: {least} to {most} expected, got {given}")
for needed in ("examples/vbon", *(f"benchmarks/benchmark.{name}" for name in ("model", "kernel_rowwise", "bon_log_prob"))):
    if not (options.build / needed).exists():
        arguments.error(f"{options.build / needed} is not there; build first: cmake --preset release && cmake --build --preset release")
torch.set_num_threads(options.threads)
keeping = "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=17179869184"
if options.keep_memory and os.environ.get("GLIBC_TUNABLES") != keeping:  # which is read when a process starts
    os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"GLIBC_TUNABLES": keeping})
print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in (
    "torch", "transformers", "trl", "numpy", "llama-cpp-python")) + (f"; GLIBC_TUNABLES={keeping}" if options.keep_memory else ""),
    flush=True)

chosen = os.environ.get("VBON_CACHE")
cache = pathlib.Path(chosen) if chosen else pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "vbon"
fetched = cache / "smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
minilm = cache / "minilm"
reviews = cache / "snippets" / "movieReviewSnippets_GroundTruth.txt"
for needed in (fetched, minilm, reviews):
    if not needed.exists():
        sys.exit(f"{needed} is not there; sh examples/setup/fetch_data.sh fetches it")
beginnings = list(dict.fromkeys(" ".join(line.split("\t")[2].split()[:5]) for line in reviews.read_text().splitlines()))
if options.job_prompts >= len(beginnings):
    arguments.error(f"--job-prompts: 2 to {len(beginnings) - 1} expected, got {options.job_prompts}")

program = options.build / "examples" / "vbon"
notes = []  # printed below the table


def note(text):
    """At once too, where whoever waits for a table of half an hour sees it."""
    notes.append(text)
    print(text, file=sys.stderr, flush=True)


def vbon(*words):
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True, env=peers_job.plain_environment())
    if done.returncode:
        sys.exit(f"vbon {' '.join(map(str, words))} ended with {done.returncode}:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def by_vbon(program, case, model="", low=False, batch=None):
    """Seconds of one iteration of a case of Google Benchmark; low: in bf16, as by --bf16 and --reward-bf16."""
    words = [options.build / "benchmarks" / program, f"--benchmark_filter=^{case}$", "--benchmark_format=json",
             "--benchmark_min_time=2"]
    named = peers_job.plain_environment() | ({"VBON_BENCHMARK_MODEL": model} if model else {}) | (
        {"VBON_BENCHMARK_BF16": "1"} if low else {}) | ({"VBON_BENCHMARK_BATCH": str(batch.file)} if batch else {})
    some = sorted(os.sched_getaffinity(0))[: options.threads]  # vbon takes as many threads as processors are left to it
    case = json.loads(subprocess.run(words, check=True, capture_output=True, text=True, env=named,
                                     preexec_fn=lambda: os.sched_setaffinity(0, some)).stdout)["benchmarks"][0]
    if case.get("error_occurred"):
        sys.exit(f"{words[0]}: {case['error_message']}")
    return case["real_time"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[case["time_unit"]]


folder = tempfile.TemporaryDirectory()
places = peers_phases.Places(options.threads, str(fetched), str(minilm), folder.name)
vbon("export", fetched, "--out", places.hf, "--quiet")
for dtype in ("f32", "q8_0"):
    vbon("export", fetched, "--out", places.gguf(dtype), "--dtype", dtype, "--quiet")
tokenizer = transformers.AutoTokenizer.from_pretrained(places.hf)
model = language_model(places.hf)
vocabulary = model.config.vocab_size


class Batch:
    """Prompts and responses in tokens as a file, a line `prompt | response` of each, that both sides read. The benchmarks of
    vbon write loss and norm of the gradient beside it."""

    def __init__(self, name, prompts, responses):
        self.file = places.batch(name)
        self.file.write_text("".join(f"{' '.join(map(str, prompt))} | {' '.join(map(str, response))}\n"
                                     for prompt, response in zip(prompts, responses)))

    def result(self):
        return [float(word) for word in pathlib.Path(f"{self.file}.result").read_text().split()]


@functools.cache
def step_batch():
    """16 prompts with four responses of 24 tokens each."""
    torch.manual_seed(1)
    prompts = [tokenizer(starts[number % 4])["input_ids"] for number in range(16) for _ in range(4)]
    return Batch("step", prompts, torch.randint(0, vocabulary, (len(prompts), new_tokens)).tolist())


class Alone:
    """A peer's work in a process of its own: what peers_phases.py says of it."""

    def __init__(self, *what):
        self.what = what
        self.process = subprocess.Popen([sys.executable, peers_phases.__file__, json.dumps(dataclasses.asdict(places)),
                                         json.dumps(what)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.result = self.said()

    def said(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the peer {self.what} ended with {self.process.wait()}")
        return json.loads(line)

    def seconds(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.said()

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def check_result(name, batch, theirs, low):
    """Loss and norm of the gradient of the same tokens by both."""
    ours = batch.result()
    off = [abs(a - b) / abs(b) for a, b in zip(ours, theirs) if not math.isnan(b)]
    words = [f"{what} {a:.6g} and {b:.6g}" for what, a, b in zip(("loss", "norm of the gradient"), ours, theirs) if not math.isnan(b)]
    note(f"{name}: by vbon and by PyTorch {', '.join(words)}")
    if not all(some < most for some, most in zip(off, (5e-3, 5e-2) if low else (1e-5, 1e-3))):
        sys.exit("vbon and PyTorch do not compute the same")


def judge(network, pairs):
    """Log-probs of responses: of (prompt, response) in tokens."""
    out = []
    for prompt, response in pairs:
        with torch.no_grad():
            law = network(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1)
        out.append(law.gather(1, torch.tensor(response)[:, None]).sum().item())
    return out


def sampled(model, *words):
    """Responses of vbon in tokens, and their log-probs."""
    rows = vbon("sample", "--model", model, *sum((["--prompt", start] for start in starts), []), "--samples", 4,
                "--max-new-tokens", new_tokens, "--json", "--quiet", *words)
    read = [((tokenizer(row["prompt"])["input_ids"], tokenizer(row["text"])["input_ids"]), row) for row in rows]
    kept = [(pair, row["log_prob"]) for pair, row in read if len(pair[1]) == row["tokens"]]
    if len(kept) <= len(rows) / 2:  # a text has many spellings in tokens, and some were drawn otherwise
        sys.exit(f"of {len(rows)} responses {len(kept)} are spelled as their tokens were")
    return zip(*kept)


def by_gguf(file):
    """The network of a GGUF file, as transformers reads it, in fp32."""
    return transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32).eval()


def check_log_probs():
    """Sampled by vbon and by llama.cpp, judged by PyTorch in fp32."""
    for name, tolerance in (("Q8_0", 1), ("Q4_1", 1.5), ("F32", 0.05)):
        file = pathlib.Path(places.gguf(name.lower()))
        network = model if name == "F32" else by_gguf(file)
        pairs, ours = sampled(file)
        most = max(abs(a - b) for a, b in zip(ours, judge(network, pairs)))
        note(f"log-probs of {len(pairs)} responses by vbon from {name}, judged by PyTorch in fp32: within {most:.1e} nats")
        if not most < 5e-3:
            sys.exit("vbon and PyTorch do not compute the same")
        for sequences in (1, 128):
            responses, theirs, prompts = LlamaCpp(places, name.lower(), sequences)(judged=True)
            pairs = list(zip(prompts, responses))[:: max(1, sequences // 16)]
            off = [a - b for a, b in zip(theirs[:: max(1, sequences // 16)], judge(network, pairs), strict=True)]
            # Keys and values are in 16 bits, with quantised weights inputs in 8. Not the largest difference: responses are other
            # ones each time, and the largest of 16 from Q4_1 was 0.7 to 2.6 nats.
            usual = math.sqrt(statistics.mean(some * some for some in off))
            note(f"log-probs of {len(pairs)} of {sequences} responses by llama.cpp from {name}, judged so: root mean square "
                 f"{usual:.1e} nats, largest {max(map(abs, off)):.1e}")
            if not usual < tolerance:
                sys.exit("llama.cpp and PyTorch do not compute the same")
    if bf16:
        pairs, ours = sampled(places.gguf("f32"), "--bf16")
        exact, theirs = judge(model, pairs), judge(language_model(places.hf, torch.bfloat16), pairs)
        off = [math.sqrt(statistics.mean((a - b) ** 2 for a, b in zip(some, exact))) for some in (ours, theirs)]
        note(f"log-probs of {len(pairs)} responses in bf16 against fp32, root mean square: vbon {off[0]:.3f} nats, PyTorch "
             f"{off[1]:.3f}")
        if not off[0] < max(0.05, 1.5 * off[1]):
            sys.exit("vbon in bf16 is less exact than PyTorch in bf16")


def check_scores():
    """Rewards of the same texts, through the head of the whole job."""
    head, texts = job_settings(steps=1).reward, Scoring.texts
    file = pathlib.Path(folder.name) / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts + list(starts)))
    exact = peers_job.Reward(head)(texts + list(starts)).tolist()
    spread = statistics.stdev(exact)
    for low in (False, True)[: 1 + bf16]:
        rows = vbon("score", "--reward", f"encoder_head:{head}", "--input", file, "--quiet", *["--reward-bf16"] * low)
        most = max(abs(row["reward"] - value) for row, value in zip(rows, exact, strict=True))
        note(f"rewards of {len(exact)} texts by vbon in {'bf16' if low else 'fp32'} and by PyTorch in fp32: within {most:.1e}; "
             f"their standard deviation is {spread:.2f}")
        if not most < (0.1 * spread if low else 1e-4):
            sys.exit("vbon and PyTorch do not score the same")
    if bf16:
        theirs = peers_job.Reward(head, bf16=True)(texts + list(starts)).tolist()
        note(f"the same by PyTorch in bf16: within {max(abs(a - b) for a, b in zip(theirs, exact)):.1e}")


def log_bon_inputs():
    """Where benchmark.bon_log_prob reads the responses of LogBon, and writes what it makes of them."""
    file = pathlib.Path(folder.name) / "responses.txt"
    some = LogBon(places, 1)
    file.write_text("".join(f"{ref!r} {cdf!r}\n" for ref, cdf in zip(some.log_ref.tolist(), some.log_cdf.tolist())))
    os.environ["VBON_BENCHMARK_RESPONSES"] = str(file)
    return file


def check_log_bon():
    """vbon and both sums in numpy against the closed form log((F + p)^N - F^N)."""
    file = log_bon_inputs()
    for n in (64, 1024):
        by_vbon("benchmark.bon_log_prob", f"given_responses/N:{n}")
        ours = numpy.array([float(line) for line in pathlib.Path(f"{file}.log_bon").read_text().split()])
        sums = [LogBon(places, n), PublishedLogBon(places, n)]
        grown = n * numpy.log1p(numpy.exp(sums[0].log_ref - sums[0].log_cdf))
        closed = n * sums[0].log_cdf + grown + numpy.log(-numpy.expm1(-grown))
        most = max(float((numpy.abs(one - closed) / (1 + numpy.abs(closed))).max()) for one in (ours, sums[0](), sums[1]()))
        if not most < 1e-9:
            sys.exit(f"log pi_bon for N = {n}: vbon or a sum differs from the closed form by {most:.1e} nats a nat")
    note("log pi_bon of 128 responses by vbon, by both sums and by the closed form: within 1e-9 of it")


def check_law():
    """First tokens by vbon, by PyTorch's loop, by generate() and by llama.cpp's loop against PyTorch's law of them in fp32:
    chi-square over the likely tokens and all others together."""
    prompt = tokenizer(starts[0])["input_ids"]
    with torch.no_grad():
        law = model(torch.tensor([prompt])).logits[0, -1].double().softmax(-1).numpy()
    count = 4000
    likely = numpy.flatnonzero(law * count >= 8)
    by_text = {tokenizer.decode([number]): number for number in likely}
    words = lambda *more: [by_text.get(row["text"], -1) for row in vbon(
        "sample", "--model", places.hf, "--prompt", starts[0], "--samples", count, "--max-new-tokens", 1, "--json", "--quiet", *more)]
    loop = LlamaCpp(places, "f32", 1)
    logits = loop.decode([(token, i, 0, i + 1 == len(prompt)) for i, token in enumerate(prompt)]).clone()
    drawn = {"vbon": words(), "PyTorch's loop": sample(model, [prompt], count, 1)[:, 0].tolist(),
             "llama.cpp's": draw(logits.repeat(count, 1))[:, 0].tolist()} | ({"vbon in bf16": words("--bf16")} if bf16 else {})
    drawn["generate()"] = generated(model, tokenizer, [starts[0]], 1000, 1)[:, -1].tolist()
    for who, tokens in drawn.items():
        count = len(tokens)
        likely = numpy.flatnonzero(law * count >= 8)
        place_of = {number: at for at, number in enumerate(likely.tolist())}
        seen = numpy.bincount([place_of.get(token, len(likely)) for token in tokens], minlength=len(likely) + 1)
        expected = numpy.append(law[likely], 1 - law[likely].sum()) * count
        statistic, freedom = float(((seen - expected) ** 2 / expected).sum()), len(likely)
        note(f"first tokens of {count} responses by {who}: chi-square {statistic:.1f} with {freedom} degrees of freedom")
        if statistic > freedom + 5 * math.sqrt(2 * freedom):
            sys.exit(f"{who} does not sample PyTorch's law")


@functools.cache
def gpt2():
    """GPT-2 124M with random weights, no dropout, and a byte-level tokenizer of as many tokens (pairs of bytes)."""
    place = pathlib.Path(places.gpt2)
    torch.manual_seed(1)
    network = transformers.GPT2LMHeadModel(transformers.GPT2Config(bos_token_id=None, eos_token_id=None)).eval()
    network.save_pretrained(place)
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    merges = [(a, b) for a in letters for b in letters][: network.config.vocab_size - len(letters)]
    words = letters + [a + b for a, b in merges]
    whole = tokenizers.Tokenizer(tokenizers.models.BPE({word: number for number, word in enumerate(words)}, merges))
    whole.pre_tokenizer, whole.decoder = tokenizers.pre_tokenizers.ByteLevel(False), tokenizers.decoders.ByteLevel()
    whole.save(str(place / "tokenizer.json"))
    # Both judge the same 4 x 63 tokens, sampled by vbon.
    prompts, held_out = place / "prompts.jsonl", place / "held_out.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": letter}) + "\n" for letter in "abcd"))
    held_out.write_text(json.dumps({"prompt": "e"}) + "\n")
    vbon("align", "--quiet", "--model", place, "--reward", "length", "--prompts", prompts, "--evaluation-prompts", held_out,
         "--references", 4, "--evaluation-references", 2, "--evaluation-samples", 1, "--max-new-tokens", 63, "--warm-steps", 0,
         "--steps", 0, "--out", place / "run")
    rows = [json.loads(line) for line in (place / "run" / "references.jsonl").read_text().splitlines()]
    batch = padded([[words.index(row["prompt"])] for row in rows], [row["tokens"][0] for row in rows])
    with torch.no_grad():
        theirs = response_log_probs(network, batch).double()
    ours = torch.tensor([row["log_probs"][0] for row in rows], dtype=torch.float64).flatten()
    most, losses = (ours - theirs).abs().max().item(), (-ours.mean().item(), -theirs.mean().item())
    note(f"GPT-2, {len(ours)} tokens: loss by vbon {losses[0]:.6f}, by PyTorch {losses[1]:.6f}; largest difference of a "
         f"log-prob {most:.1e} nats")
    if not (abs(losses[0] - losses[1]) < 1e-4 and most < 1e-3):
        sys.exit("vbon and PyTorch do not compute the same")
    return network.config.vocab_size


@functools.cache
def sequences():
    """4 x 64 tokens, all but the first of each learnt."""
    rows = torch.randint(0, gpt2(), (4, 64)).tolist()
    return Batch("sequences", [row[:1] for row in rows], [row[1:] for row in rows])


bf16 = bool(re.search(r"avx512_bf16|amx_bf16|\bbf16\b", pathlib.Path("/proc/cpuinfo").read_text()))


@dataclasses.dataclass
class Phase:
    """Both sides of it compute in bf16 (low), or both in fp32."""
    name: str
    peers: dict  # what each is in peers_phases.py
    case: str
    program: str = "benchmark.model"
    model: str = ""      # GGUF file, or folder, whose weights vbon has
    batch: object = None  # makes the tokens that both get
    low: bool = False


def phases():
    f32, q8_0, training = places.gguf("f32"), places.gguf("q8_0"), "PyTorch, fused AdamW"
    loop = lambda *of: {"PyTorch, hand-written loop": ("Loop", *of)}
    for low in (False, True)[: 1 + bf16]:
        said = ", bf16" * low
        yield Phase(f"sampling, 128 sequences{said}", loop(128, low) | ({} if low else {
            "transformers, generate": ("Generate", 128), "llama.cpp, F32": ("LlamaCpp", "f32", 128)}),
            "sample/sequences:128/real_time", model=f32, low=low)
        yield Phase(f"sampling, one stream{said}", loop(1, low) | ({} if low else {"llama.cpp, F32": ("LlamaCpp", "f32", 1)}),
                    "sample/sequences:1/real_time", model=f32, low=low)
        if not low:
            for name, file in (("Q8_0", q8_0), ("Q4_1", str(fetched))):
                yield Phase(f"sampling, one stream, {name} weights", {f"llama.cpp, {name}": ("LlamaCpp", name.lower(), 1)},
                            "sample/sequences:1/real_time", model=file)
        yield Phase(f"scoring, 512 texts{said}", {"PyTorch": ("Scoring", low)}, "score/real_time", low=low)
        yield Phase(f"log-probs, 64 responses{said}", {"PyTorch": ("LogProb", "step", low)}, "log_prob/real_time", model=f32,
                    batch=step_batch, low=low)
        yield Phase(f"training step, 64 responses{said}", {training: ("Training", "hf", "step", low)}, "train/real_time",
                    model=f32, batch=step_batch, low=low)
        yield Phase(f"training step, GPT-2 124M, 4 x 64 tokens{said}", {training: ("Training", "gpt2", "sequences", low)},
                    "train_sequences/sequences:4/length:64/real_time", model=places.gpt2, batch=sequences, low=low)
    yield Phase("AdamW, 134.5 million parameters", {"PyTorch, fused": ("Optimizer",)}, "adamw/parameters:134515008/real_time")
    for n in (64, 1024):
        yield Phase(f"log pi_bon, 128 responses, N = {n}",
                    {"numpy, the sum at once": ("LogBon", n), "numpy, as published": ("PublishedLogBon", n)},
                    f"given_responses/N:{n}", program="benchmark.bon_log_prob")


def job_settings(**sizes):
    """Of the whole job: beginnings of film reviews, and the sentiment head that `vbon align` trains by default."""
    place, head = pathlib.Path(folder.name) / "endless", pathlib.Path(folder.name) / "head"
    if not place.exists():
        place.mkdir()
        for file in (pathlib.Path(folder.name) / "hf").iterdir():
            if file.name in ("config.json", "generation_config.json"):
                said = json.loads(file.read_text())
                (place / file.name).write_text(json.dumps({key: said[key] for key in said if key != "eos_token_id"}))
            else:
                (place / file.name).symlink_to(file)
        vbon("align", "--quiet", "--training-prompts", 1, "--references", 2, "--evaluation-count", 1, "--evaluation-samples", 1,
             "--evaluation-references", 2, "--max-new-tokens", 1, "--warm-steps", 0, "--steps", 0, "--out", head)
    prompts = beginnings[: options.job_prompts + 1]
    return peers_job.Settings(model=str(place), reward=str(head / "reward"), prompts=prompts[:-1], held_out=prompts[-1],
                              threads=options.threads, new_tokens=new_tokens, **sizes)


def row(name, peer, ours, theirs):
    both = lambda times: f"{statistics.median(times):.3g} ({min(times):.3g})"
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"| {name} | {peer} | {both(ours)} | {both(theirs)} | {ratio:.2f} |", flush=True)


def whole_job(name, low):
    """Peak memory, and where the time went, go into lines of their own below the table. In the lowest precision that this
    processor has each round has a third run, vbon's in little memory."""
    settings, ours, lean, theirs = job_settings(steps=options.job_steps, bf16=low), [], [], []
    lowest = low == bf16
    for number in range(options.job_rounds):
        place = pathlib.Path(folder.name) / f"job{number}{'_bf16' * low}"
        ours.append(peers_job.by_vbon(program, settings, place))
        theirs.append(peers_job.by_other("by_torch", settings))
        note(f"{name}: {ours[-1].seconds:.0f} s, {theirs[-1].seconds:.0f} s by PyTorch; "
             f"{peers_job.check_same_work(settings, ours[-1], theirs[-1])}")
        if lowest:
            lean.append(peers_job.by_vbon(program, dataclasses.replace(settings, lean=True), f"{place}_lean"))
            shutil.rmtree(f"{place}_lean")
            if lean[-1].losses != ours[-1].losses:
                sys.exit(f"{name}: losses of the steps with --recompute {lean[-1].losses}, without {ours[-1].losses}")
            note(f"{name}, --recompute: {lean[-1].seconds:.0f} s, {lean[-1].gigabytes:.2f} GB, the losses of the run before")
        note(f"{name}: {peers_job.check_rewards(settings, place)}")
    row(name, "PyTorch, hand-written", [done.seconds for done in ours], [done.seconds for done in theirs])
    if lowest:
        row(f"{name}, --recompute", "PyTorch, hand-written", [done.seconds for done in lean],
            [done.seconds for done in theirs])
    for who, rounds in (("vbon", ours), *([("vbon with --recompute", lean)] if lowest else []), ("PyTorch", theirs)):
        last = rounds[-1]
        note(f"{name} by {who}: {max(done.gigabytes for done in rounds):.2f} GB at most; in the last round references "
             f"{last.references:.0f} s, a step {statistics.median(last.steps):.2f} s; mean reward of the first and last five "
             f"steps {statistics.mean(last.step_mean[:5]):.2f} and {statistics.mean(last.step_mean[-5:]):.2f}")


def whole_step():
    """Two steps a round; the first, in which memory is taken, is not counted."""
    settings, ours, theirs = job_settings(steps=2, references=2), [], []
    wanted = settings.steps * settings.step_responses()
    for number in range(options.rounds):
        ours.append(peers_job.by_vbon(program, settings, pathlib.Path(folder.name) / f"step{number}"))
        theirs.append(peers_job.by_other("by_trl", settings))
        if (theirs[-1].rewards, theirs[-1].tokens, len(theirs[-1].steps)) != (wanted, wanted * new_tokens, settings.steps):
            sys.exit(f"TRL: {wanted} responses expected, got {theirs[-1].rewards} rewards, {theirs[-1].tokens} tokens, "
                     f"{len(theirs[-1].steps)} steps")
    row(step, "TRL, RLOOTrainer", [done.steps[1] for done in ours], [done.steps[1] for done in theirs])
    mean = lambda all: statistics.mean(reward for done in all for reward in done.step_mean)
    note(f"the process of TRL held {max(done.gigabytes for done in theirs):.2f} GB at most, that of vbon "
         f"{max(done.gigabytes for done in ours):.2f}; mean reward of the samples {mean(theirs):.2f} and {mean(ours):.2f}")


job = f"whole job, {options.job_prompts} prompts x 32 references, {options.job_steps} steps"
step = "whole step, 64 responses"
names = [phase.name for phase in phases()] + [step, job] + [job + ", bf16"] * bf16
if not any(options.only in name for name in names):
    arguments.error(f"--only '{options.only}': no phase is called so; there are " + "; ".join(names))
check_log_probs()
check_scores()
check_law()
check_log_bon()
if not bf16:
    print("no rows of bf16: this processor has no instructions for it", flush=True)
print("\n| phase | peer | vbon, s | peer, s | ratio |\n|---|---|---|---|---|", flush=True)
for phase in phases():
    if options.only not in phase.name:
        continue
    batch = phase.batch() if phase.batch else None
    ours_once = functools.partial(by_vbon, phase.program, phase.case, phase.model, phase.low, batch)
    if batch:
        ours_once()  # writes what is compared
    made = {peer: Alone(*what) for peer, what in phase.peers.items()}
    if batch:
        for work in made.values():
            check_result(phase.name, batch, work.result, phase.low)
    ours, theirs, memory = [], {peer: [] for peer in made}, []
    file = pathlib.Path(phase.model) if "sequences:1/" in phase.case else None
    for _ in range(options.rounds):
        ours.append(ours_once())
        if file:
            memory.append(2**29 / by_vbon("benchmark.kernel_rowwise", "read_memory/real_time"))
        if "adamw" in phase.case:
            memory.append(by_vbon("benchmark.kernel_rowwise", "update_memory/parameters:134515008/real_time"))
        for peer, work in made.items():
            theirs[peer].append(work.seconds())
    for work in made.values():
        work.end()
    for peer, times in theirs.items():
        row(phase.name, peer, ours, times)
    if file:
        size = file.stat().st_size / (2 if phase.low else 1)
        limits = [new_tokens * size / read for read in memory]
        note(f"{phase.name}: the {size / 1e6:.0f} MB of weights, once for each of {new_tokens} tokens, by round: " + ", ".join(
            f"{limit:.3f} s at the {read / 1e9:.0f} GB/s at which memory is read, {limit / time:.2f} of vbon's time"
            for limit, read, time in zip(limits, memory, ours)))
    elif memory:
        note(f"{phase.name}: four arrays read and three written, with hardly any arithmetic, take {statistics.median(memory):.3g} "
             f"({min(memory):.3g}) s")
if options.only in step:
    whole_step()
for name, low in ((job, False), *([(job + ", bf16", True)] if bf16 else [])):
    if options.only in name and options.job_rounds > 0:
        whole_job(name, low)
for text in notes:
    print("\n" + text, flush=True)

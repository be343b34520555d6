"""The phases of the main job by vbon and by PyTorch, transformers and llama.cpp, back to back on the same weights and texts.

    sh benchmarks/peers.sh                     # installs the peers into a folder of their own and runs this
    PYTHON benchmarks/peers.py build/release   # with a Python that has torch, transformers, numpy and xllamacpp

Each phase runs in rounds, vbon and its peers in turn; the table has the median (and the least) of each and the ratio of the
medians, in which more than 1 means that vbon is faster. What is compared is checked first: log-probabilities of the same
tokens, and the law of sampled first tokens by chi-square. Nothing else may run meanwhile.
"""
import argparse, json, math, os, pathlib, statistics, subprocess, sys, tempfile, time

import numpy, torch, transformers

arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
arguments.add_argument("build", type=pathlib.Path, help="build folder with examples/vbon and benchmarks/benchmark.model")
arguments.add_argument("--rounds", type=int, default=3, help="of each phase (3)")
arguments.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of PyTorch and llama.cpp (all)")
arguments.add_argument("--only", default="", help="phases whose names hold this")
options = arguments.parse_args()
torch.set_num_threads(options.threads)

chosen = os.environ.get("VBON_CACHE")
cache = pathlib.Path(chosen) if chosen else pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "vbon"
fetched = cache / "smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
minilm = cache / "minilm"
for needed in (fetched, minilm):
    if not needed.exists():
        sys.exit(f"{needed} is not there; sh examples/setup/fetch_data.sh fetches it")

starts = ["The film is a slow and", "A wonderful cast, but the story", "It never quite knows what", "Few comedies are this"]
new_tokens = 24


def vbon(*words):
    done = subprocess.run([options.build / "examples" / "vbon", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"vbon {' '.join(map(str, words))} ended with {done.returncode}:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def by_vbon(program, case, share=1):
    """Seconds of one iteration of a case of Google Benchmark, or of a share of it."""
    words = [options.build / "benchmarks" / program, f"--benchmark_filter=^{case}$", "--benchmark_format=json",
             "--benchmark_min_time=2"]
    case = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)["benchmarks"][0]
    if case.get("error_occurred"):
        sys.exit(f"{words[0]}: {case['error_message']}")
    return share * case["real_time"] * {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}[case["time_unit"]]


def seconds(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


folder = tempfile.TemporaryDirectory()
vbon("export", fetched, "--out", pathlib.Path(folder.name) / "hf", "--quiet")
vbon("export", fetched, "--out", pathlib.Path(folder.name) / "f32.gguf", "--dtype", "f32", "--quiet")
place = str(pathlib.Path(folder.name) / "hf")
tokenizer = transformers.AutoTokenizer.from_pretrained(place)
model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
vocabulary = model.config.vocab_size


@torch.no_grad()
def sample(sequences):
    """A hand-written loop: prompts padded on the left and computed once, then a token of every sequence at a time."""
    group = min(sequences, 32)
    ids = [tokenizer(start)["input_ids"] for start in starts[: sequences // group]]
    longest = max(map(len, ids))
    pad = [longest - len(one) for one in ids]
    tokens = torch.tensor([[0] * p + one for p, one in zip(pad, ids)])
    mask = torch.tensor([[0] * p + [1] * len(one) for p, one in zip(pad, ids)])
    position = (mask.cumsum(1) - 1).clamp(min=0)
    kept = model(tokens, attention_mask=mask, position_ids=position, use_cache=True, logits_to_keep=1)
    past = kept.past_key_values
    past.batch_repeat_interleave(group)
    mask, position = mask.repeat_interleave(group, 0), position[:, -1:].repeat_interleave(group, 0)
    logits, drawn = kept.logits[:, -1].repeat_interleave(group, 0), []
    for step in range(new_tokens):
        token = torch.multinomial(logits.softmax(-1), 1)
        drawn.append(token)
        if step + 1 == new_tokens:
            break
        mask, position = torch.cat([mask, mask.new_ones(len(mask), 1)], 1), position + 1
        out = model(token, attention_mask=mask, position_ids=position, past_key_values=past, use_cache=True)
        past, logits = out.past_key_values, out.logits[:, -1]
    return torch.cat(drawn, 1)


def generate(sequences):
    group = min(sequences, 32)
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.eos_token
    batch = tokenizer(starts[: sequences // group], return_tensors="pt", padding=True)
    with torch.no_grad():
        model.generate(**batch, do_sample=True, top_k=0, top_p=1.0, num_return_sequences=group, max_new_tokens=new_tokens,
                       min_new_tokens=new_tokens, pad_token_id=tokenizer.pad_token_id)


def step_batch():
    """16 prompts with four responses of 24 tokens each, padded on the right: tokens, mask, and where responses stand."""
    torch.manual_seed(1)
    rows, begins = [], []
    for number in range(16):
        prompt = tokenizer(starts[number % 4])["input_ids"]
        for _ in range(4):
            rows.append(prompt + torch.randint(0, vocabulary, (new_tokens,)).tolist())
            begins.append(len(prompt))
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    wanted = torch.zeros(mask.shape, dtype=torch.bool)
    for row, begin in enumerate(begins):
        wanted[row, begin : len(rows[row])] = True
    return tokens, mask, wanted[:, 1:]


def response_log_probs(batch):
    tokens, mask, wanted = batch
    hidden = model.model(tokens, attention_mask=mask).last_hidden_state[:, :-1][wanted]
    logits = model.lm_head(hidden)  # of the responses alone
    return torch.nn.functional.cross_entropy(logits, tokens[:, 1:][wanted], reduction="none").neg()


@torch.no_grad()
def log_prob():
    response_log_probs(step_batch())


class Training:
    def __init__(self):
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=0.0, fused=True)

    def __call__(self):
        self.optimizer.zero_grad(set_to_none=False)
        response_log_probs(step_batch()).mean().neg().backward()
        self.optimizer.step()


class Scoring:
    """Mean-pooled embeddings of 512 texts, those of like length together."""

    def __init__(self):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(minilm)
        self.encoder = transformers.AutoModel.from_pretrained(minilm).eval()
        self.texts = ["A slow and thoughtful film about a family that never quite says what it means, with a cast that carries "
                      f"every scene. Take {i}." for i in range(512)]

    @torch.no_grad()
    def __call__(self):
        for begin in range(0, len(self.texts), 32):
            batch = self.tokenizer(self.texts[begin : begin + 32], return_tensors="pt", padding=True, truncation=True)
            hidden = self.encoder(**batch).last_hidden_state
            weight = batch["attention_mask"].unsqueeze(-1).float()
            torch.nn.functional.normalize((hidden * weight).sum(1) / weight.sum(1))


class OneStream:
    """llama.cpp, one response at a time."""

    def __init__(self, file):
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path, params.n_ctx, params.n_parallel, params.n_gpu_layers = str(file), 256, 1, 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
        self.server = xllamacpp.Server(params)

    def __call__(self):
        answer = self.server.handle_completions({"prompt": starts[0], "max_tokens": new_tokens, "temperature": 1.0, "top_k": 0,
                                                 "top_p": 1.0, "min_p": 0.0, "ignore_eos": True, "cache_prompt": False})
        answer = json.loads(answer) if isinstance(answer, str) else answer
        if answer["usage"]["completion_tokens"] != new_tokens:
            sys.exit(f"llama.cpp wrote {answer['usage']['completion_tokens']} tokens, {new_tokens} expected")


class LogBon:
    """log pi_bon as a sum over the number of draws that tie, in numpy, a response at a time."""

    def __init__(self, n):
        count = numpy.arange(1, n + 1)
        self.log_choose = numpy.array([math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in count])
        self.count, self.n = count, n
        draw = numpy.random.default_rng(1)
        self.log_ref, self.log_cdf = -30 * draw.random(128), numpy.log(draw.random(128))

    def __call__(self):
        for log_ref, log_cdf in zip(self.log_ref, self.log_cdf):
            terms = self.log_choose + self.count * log_ref + (self.n - self.count) * log_cdf
            most = terms.max()
            most + numpy.log(numpy.exp(terms - most).sum())


def check_log_probs():
    """Sampled by vbon, judged by PyTorch."""
    rows = vbon("sample", "--model", place, *sum((["--prompt", start] for start in starts), []), "--samples", 4,
                "--max-new-tokens", new_tokens, "--json", "--quiet")
    most, judged = 0.0, 0
    for row in rows:
        prompt, response = tokenizer(row["prompt"])["input_ids"], tokenizer(row["text"])["input_ids"]
        if len(response) != row["tokens"]:
            continue  # a text has many spellings in tokens, and another one was drawn
        with torch.no_grad():
            law = model(torch.tensor([prompt + response])).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        most = max(most, abs(law.gather(1, torch.tensor(response)[:, None]).sum().item() - row["log_prob"]))
        judged += 1
    print(f"log-probs of {judged} sampled responses: largest difference {most:.1e} nats", flush=True)
    if not (most < 5e-3 and judged > len(rows) / 2):
        sys.exit("vbon and PyTorch do not compute the same")


def check_law():
    """First tokens by vbon against PyTorch's law of them: chi-square over the likely tokens and all others together."""
    rows = vbon("sample", "--model", place, "--prompt", starts[0], "--samples", 4000, "--max-new-tokens", 1, "--json", "--quiet")
    with torch.no_grad():
        law = model(torch.tensor([tokenizer(starts[0])["input_ids"]])).logits[0, -1].double().softmax(-1).numpy()
    likely = numpy.flatnonzero(law * len(rows) >= 8)
    place_of = {tokenizer.decode([number]): at for at, number in enumerate(likely)}
    drawn = numpy.bincount([place_of.get(row["text"], len(likely)) for row in rows], minlength=len(likely) + 1)
    expected = numpy.append(law[likely], 1 - law[likely].sum()) * len(rows)
    statistic, freedom = float(((drawn - expected) ** 2 / expected).sum()), len(likely)
    print(f"first tokens of {len(rows)} responses: chi-square {statistic:.1f} with {freedom} degrees of freedom", flush=True)
    if statistic > freedom + 5 * math.sqrt(2 * freedom):
        sys.exit("vbon and PyTorch do not sample the same law")


def phases():
    """Name, case of vbon, peers: what each runs is made when its turn comes."""
    yield ("sampling, 128 sequences", ("benchmark.model", "sample/sequences:128/real_time"),
           {"PyTorch, hand-written loop": lambda: (lambda: sample(128)), "transformers, generate": lambda: (lambda: generate(128))})
    yield ("sampling, one stream", ("benchmark.model", "sample/sequences:1/real_time"),
           {"PyTorch, hand-written loop": lambda: (lambda: sample(1)),
            "llama.cpp, F32": lambda: OneStream(pathlib.Path(folder.name) / "f32.gguf"),
            "llama.cpp, Q4_1": lambda: OneStream(fetched)})
    yield ("scoring, 512 texts", ("benchmark.model", "score/real_time"), {"PyTorch": Scoring})
    yield ("log-probs, 64 responses", ("benchmark.model", "log_prob/real_time"), {"PyTorch": lambda: log_prob})
    yield ("training step, 64 responses", ("benchmark.model", "train/real_time"), {"PyTorch, fused AdamW": Training})
    for n in (64, 1024):
        yield (f"log pi_bon, 128 responses, N = {n}", ("benchmark.bon_log_prob", f"time_rival/vector_registers/kind:3/N:{n}", 128 / 4096),
               {"numpy": lambda: LogBon(n)})


check_log_probs()
check_law()
print(f"\n| phase | peer | vbon, s | peer, s | ratio |\n|---|---|---|---|---|", flush=True)
for name, case, peers in phases():
    if options.only not in name:
        continue
    made = {peer: make() for peer, make in peers.items()}
    for work in made.values():
        work()  # memory is taken, and code compiled, at the first call
    ours, theirs = [], {peer: [] for peer in made}
    for _ in range(options.rounds):
        ours.append(by_vbon(*case))
        for peer, work in made.items():
            theirs[peer].append(seconds(work))
    both = lambda times: f"{statistics.median(times):.3g} ({min(times):.3g})"
    for peer, times in theirs.items():
        print(f"| {name} | {peer} | {both(ours)} | {both(times)} | {statistics.median(times) / statistics.median(ours):.2f} |", flush=True)

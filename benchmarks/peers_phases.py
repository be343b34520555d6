"""What the peers do in a phase. peers.py times each in a process of its own, this file as a program, so that none pays for
the memory that another phase has used before it:

    PYTHON peers_phases.py PLACES WORK    # both JSON: of Places, and the name of a class below and what it is made from

It does its work once, for memory is taken and code compiled at the first call, prints what there is to compare (a line of
JSON, null where there is nothing), and then for each line that it reads the seconds of a call.
"""
import dataclasses, json, math, os, pathlib, re, sys, time

import numpy, torch, transformers

from peers_torch import SentenceEncoder, draw, padded, response_log_probs, sample

starts = ["The film is a slow and", "A wonderful cast, but the story", "It never quite knows what", "Few comedies are this"]
new_tokens = 24


@dataclasses.dataclass
class Places:
    """Files and folders that both sides read."""
    threads: int
    fetched: str            # Q4_1, as it was fetched
    minilm: str
    exported: str           # a folder: what vbon made of the fetched file, and the batches

    @property
    def hf(self):  # the same weights for transformers
        return f"{self.exported}/hf"

    @property
    def gpt2(self):  # a folder for transformers, with random weights
        return f"{self.exported}/gpt2"

    def gguf(self, name):
        return self.fetched if name == "q4_1" else f"{self.exported}/{name}.gguf"

    def batch(self, name):
        return pathlib.Path(self.exported) / f"{name}.txt"


def language_model(place, dtype=torch.float32):
    return transformers.AutoModelForCausalLM.from_pretrained(place, dtype=dtype).eval()


def number_type(low):
    return torch.bfloat16 if low else torch.float32


def read_batch(file):
    """Prompts and responses in tokens, a line `prompt | response` of each, as PyTorch takes them."""
    rows = [[list(map(int, part.split())) for part in line.split("|")] for line in file.read_text().splitlines()]
    return padded(*map(list, zip(*rows)))


def generated(model, tokenizer, texts, group, count):
    """Tokens by transformers' generate(): the texts and `count` tokens of each of their `group` responses."""
    tokenizer.padding_side, tokenizer.pad_token = "left", tokenizer.eos_token
    batch = tokenizer(texts, return_tensors="pt", padding=True)
    with torch.no_grad():  # min_new_tokens would forbid the end token
        return model.generate(**batch, do_sample=True, top_k=0, top_p=1.0, num_return_sequences=group, max_new_tokens=count,
                              min_new_tokens=count if count > 1 else None, pad_token_id=tokenizer.pad_token_id)


class Loop:
    """A hand-written loop of PyTorch that samples `sequences` responses of 24 tokens, at most 32 of a prompt."""

    def __init__(self, places, sequences, low=False):
        self.model, group = language_model(places.hf, number_type(low)), min(sequences, 32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(places.hf)
        self.sampled = [tokenizer(start)["input_ids"] for start in starts[: sequences // group]], group, new_tokens

    def __call__(self):
        sample(self.model, *self.sampled)


class Generate:
    """The same by transformers."""

    def __init__(self, places, sequences):
        self.model, self.tokenizer = language_model(places.hf), transformers.AutoTokenizer.from_pretrained(places.hf)
        self.group = min(sequences, 32)
        self.texts = starts[: sequences // self.group]

    def __call__(self):
        generated(self.model, self.tokenizer, self.texts, self.group, new_tokens)


class LogProb:
    """Of a batch's responses."""

    def __init__(self, places, batch, low=False):
        self.network, self.batch = language_model(places.hf, number_type(low)), read_batch(places.batch(batch))

    @torch.no_grad()
    def __call__(self):
        return response_log_probs(self.network, self.batch)

    def result(self):
        return [-self().mean().item(), math.nan]


class Training:
    """Forward, backward and AdamW; in bf16 the network computes in it and the weights stay fp32."""

    def __init__(self, places, network, batch, low=False):
        self.network, self.batch, self.low = language_model(getattr(places, network)), read_batch(places.batch(batch)), low
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=0.0, weight_decay=0.0, fused=True)

    def loss(self):
        self.optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.low):
            loss = response_log_probs(self.network, self.batch).mean().neg()
        loss.backward()
        return loss.item()

    def __call__(self):
        self.loss()
        self.optimizer.step()

    def result(self):
        loss = self.loss()
        squares = [one.grad.double().square().sum() for one in self.network.parameters() if one.grad is not None]
        return [loss, math.sqrt(sum(squares))]


class Optimizer:
    """A step of fused AdamW on as many numbers as SmolLM2 has, in one tensor."""

    def __init__(self, places):
        weights = torch.nn.Parameter(torch.zeros(134_515_008))
        weights.grad = (torch.arange(len(weights)) % 7 - 3) * 1e-3
        self.optimizer = torch.optim.AdamW([weights], lr=1e-5, weight_decay=0.01, fused=True)

    def __call__(self):
        self.optimizer.step()


class Scoring:
    """512 texts."""
    texts = ["A slow and thoughtful film about a family that never quite says what it means, with a cast that carries "
             f"every scene. Take {i}." for i in range(512)]

    def __init__(self, places, low=False):
        self.encoder = SentenceEncoder(places.minilm, number_type(low))

    def __call__(self):
        self.encoder(self.texts)


class LlamaCpp:
    """llama.cpp by a hand-written loop, which draws as that of PyTorch does: prompts are computed once and shared."""

    def __init__(self, places, name, sequences):
        import llama_cpp

        self.api, self.sequences = llama_cpp, sequences
        if not built_for_this_processor(llama_cpp.llama_print_system_info().decode()):
            sys.exit("llama.cpp was not compiled for this processor; benchmarks/peers.sh does so (by hand: pip install "
                     "--force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python llama-cpp-python)")
        self.quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self.quiet, None)
        self.model = llama_cpp.llama_model_load_from_file(places.gguf(name).encode(), llama_cpp.llama_model_default_params())
        wanted = llama_cpp.llama_context_default_params()
        wanted.n_ctx, wanted.n_seq_max, wanted.no_perf = 256 * sequences, sequences, True
        wanted.n_threads = wanted.n_threads_batch = places.threads
        self.context = llama_cpp.llama_init_from_model(self.model, wanted)
        self.memory = llama_cpp.llama_get_memory(self.context)
        self.vocabulary = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        tokenizer, group = transformers.AutoTokenizer.from_pretrained(places.hf), min(sequences, 32)
        self.group, self.ids = group, [tokenizer(start)["input_ids"] for start in starts[: sequences // group]]
        self.batch = llama_cpp.llama_batch_init(512, 0, 1)

    def __del__(self):
        for name, free in (("batch", "llama_batch_free"), ("context", "llama_free"), ("model", "llama_model_free")):
            if hasattr(self, name):  # what __init__ came to
                getattr(self.api, free)(getattr(self, name))

    def decode(self, rows):
        """Logits of those of the rows (token, position, sequence, wanted) that are wanted."""
        batch = self.batch
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, wanted) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, wanted
            batch.seq_id[i][0] = sequence
        if self.api.llama_decode(self.context, batch):
            sys.exit("llama.cpp: llama_decode failed")
        shape = (sum(row[3] for row in rows), self.vocabulary)
        return torch.from_numpy(numpy.ctypeslib.as_array(self.api.llama_get_logits(self.context), shape))

    def __call__(self, judged=False):
        """Tokens of `sequences` responses of the starts, and their log-probs where these are judged."""
        self.api.llama_memory_clear(self.memory, True)
        group, ids = self.group, self.ids
        logits = self.decode([(token, i, p * group, i + 1 == len(prompt)) for p, prompt in enumerate(ids)
                              for i, token in enumerate(prompt)]).repeat_interleave(group, 0)
        for other in range(self.sequences):
            if other % group:
                self.api.llama_memory_seq_cp(self.memory, other // group * group, other, -1, -1)
        drawn, log_probs = [], torch.zeros(self.sequences)
        for step in range(new_tokens):
            token = draw(logits)
            drawn.append(token)
            if judged:
                log_probs += logits.log_softmax(-1).gather(1, token)[:, 0]
            if step + 1 < new_tokens:
                logits = self.decode([(token, len(ids[s // group]) + step, s, True) for s, token in enumerate(token[:, 0].tolist())])
        return torch.cat(drawn, 1).tolist(), log_probs.tolist(), [ids[s // group] for s in range(self.sequences)]


def built_for_this_processor(said):
    """Whether llama.cpp uses the vectors that are here: wheels are compiled for any processor."""
    here = pathlib.Path("/proc/cpuinfo").read_text()
    return all(f"{name} = 1" in said for flag, name in (("avx2", "AVX2"), ("avx512f", "AVX512"), ("avx512_bf16", "AVX512_BF16"))
               if re.search(rf"\b{flag}\b", here))


class LogBon:
    """log pi_bon as a sum over the number of draws that tie, in numpy, for all 128 responses at once, the coefficients made
    before."""

    def __init__(self, places, n):
        count = numpy.arange(1, n + 1)
        self.log_choose = numpy.array([math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in count])
        self.count, self.n = count, n
        draw = numpy.random.default_rng(1)
        self.log_ref = -30 * draw.random(128)
        self.log_cdf = numpy.log(draw.random(128) * -numpy.expm1(self.log_ref))  # F + p is at most 1

    def __call__(self):
        terms = self.log_choose + self.count * self.log_ref[:, None] + (self.n - self.count) * self.log_cdf[:, None]
        most = terms.max(1)
        return most + numpy.log(numpy.exp(terms - most[:, None]).sum(1))


class PublishedLogBon(LogBon):
    """The same sum as the paper's code takes it: over the number of draws that tie, one after another, each binomial
    coefficient computed when it comes to it."""

    def __call__(self):
        total = numpy.full(len(self.log_ref), -numpy.inf)
        for k in range(1, self.n + 1):
            coefficient = math.log(float(math.comb(self.n, k)))
            total = numpy.logaddexp(total, coefficient + k * self.log_ref + (self.n - k) * self.log_cdf)
        return total


if __name__ == "__main__":
    said = os.fdopen(os.dup(1), "w", buffering=1)  # what libraries print goes elsewhere
    os.dup2(2, 1)
    places, (kind, *made_from) = Places(**json.loads(sys.argv[1])), json.loads(sys.argv[2])
    torch.set_num_threads(places.threads)
    work = globals()[kind](places, *made_from)
    work()
    print(json.dumps(work.result() if hasattr(work, "result") else None), file=said)
    for _ in sys.stdin:
        begin, calls = time.perf_counter(), 0
        while calls == 0 or time.perf_counter() - begin < 2:  # two seconds of calls, as Google Benchmark takes for vbon
            work()
            calls += 1
        print((time.perf_counter() - begin) / calls, file=said)

"""Lets llama.cpp and transformers load what `vbon export` writes, and holds the greedy text and its log-probability against
vbon's own. It needs Python with xllamacpp (a wheel of llama.cpp), torch, transformers and gguf. Usage:

    python check_export.py build/release/examples/vbon [MODEL ...]

makes a tiny random checkpoint of each family, exports it and every MODEL (a GGUF file or folder; none: the fetched SmolLM2)
in each type, and prints a table. Then it times the loading of each MODEL that is a GGUF file by vbon and by llama.cpp.
The exit code is 1 where llama.cpp does not load a file or, in F32, a text differs. What the GGUF reader of transformers
does not know (rotary scaling, biases of Llama, head sizes, some families) is told and does not count."""
import json, os, pathlib, sys, tempfile, time

import common

common.needs("torch", "transformers", "xllamacpp", "gguf")
import torch, transformers as tf, xllamacpp

vbon = sys.argv[1]
models = sys.argv[2:] or [str(common.cache() / "smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf")]
new_tokens, threads = 16, len(os.sched_getaffinity(0))


def run(*arguments):
    return common.run(vbon, *arguments)


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, path):
        options = xllamacpp.CommonParams()
        options.model.path = path
        options.n_ctx, options.n_parallel, options.warmup, options.verbosity = 256, 1, False, 0
        options.cpuparams.n_threads = options.cpuparams_batch.n_threads = threads
        options.cache_type_k = options.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        options.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.server = xllamacpp.Server(options)

    def greedy(self, prompt, tokens=new_tokens):
        """Text and log-probability of what it goes on with."""
        answer = self.server.handle_completions(dict(prompt=prompt, n_predict=tokens, temperature=0.0, n_probs=1, cache_prompt=False))["choices"][0]
        return answer["text"], sum(token["logprob"] for token in answer["logprobs"]["content"])


class Transformers:
    name = "transformers"

    def __init__(self, path):
        where = pathlib.Path(path)
        options = {"gguf_file": where.name} if where.suffix == ".gguf" else {}
        folder = where.parent if options else where
        self.tokenizer = tf.AutoTokenizer.from_pretrained(folder, **options)
        self.model = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options).eval()

    def greedy(self, prompt):
        tokens = self.tokenizer(prompt)["input_ids"]
        ends = self.model.generation_config.eos_token_id or self.model.config.eos_token_id
        ends, begin, total = ends if isinstance(ends, list) else [ends], len(tokens), 0.0
        for _ in range(new_tokens):
            with torch.no_grad():
                logits = self.model(torch.tensor([tokens])).logits[0, -1].double()
            token = int(logits.argmax())
            total += float(torch.log_softmax(logits, -1)[token])
            tokens.append(token)
            if token in ends:
                break
        return self.tokenizer.decode(tokens[begin:], skip_special_tokens=True, clean_up_tokenization_spaces=False), total


failures = 0


def check(name, source, folder):
    global failures
    prompt = "the film is"
    for kind, dtype in [("folder", d) for d in ("f32", "bf16", "f16")] + [("GGUF", d) for d in ("f32", "f16", "bf16", "q8_0", "q4_0")]:
        out = folder / (f"{dtype}.gguf" if kind == "GGUF" else dtype)
        run("export", source, "--out", out, "--dtype", dtype, "--overwrite")
        own = json.loads(run("sample", "--model", out, "--prompt", prompt, "--greedy", "--max-new-tokens", new_tokens, "--json", "--quiet"))
        for reader in ([LlamaCpp] if kind == "GGUF" else []) + [Transformers]:
            try:
                text, log_prob = reader(str(out)).greedy(prompt)
                same = text.strip() == own["text"].strip()
                verdict = f"{'equal' if same else 'differs'} | {abs(log_prob - own['log_prob']):.1e}"
                failures += dtype == "f32" and not same and (reader is LlamaCpp or kind == "folder")
            except Exception as error:
                verdict = f"not loaded: {str(error).splitlines()[0][:90]} |"
                failures += reader is LlamaCpp or kind == "folder"
            print(f"| {name} | {kind} | {dtype.upper()} | {reader.name} | {verdict} |", flush=True)


def seconds(action, repeats=5):
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        best = min(best, time.perf_counter() - begin)
    return best


print("| model | written as | type | read by | greedy text | log-prob, difference in nats |\n|---|---|---|---|---|---|")
with tempfile.TemporaryDirectory() as temporary:
    temporary = pathlib.Path(temporary)
    for number, (name, source) in enumerate([*((f"tiny {n}", str(p)) for n, p in common.causal_checkpoints(temporary)), *((pathlib.Path(m).name, m) for m in models)]):
        folder = temporary / f"out_{number}"
        folder.mkdir()
        check(name, source, folder)

print("\n| model | llama.cpp, load and one token | vbon, the same in a process of its own | ratio | vbon inspect |\n|---|---|---|---|---|")
for model in models:
    if model.endswith(".gguf"):
        def load():
            LlamaCpp(model).greedy("The", 1)

        peer = seconds(load)
        own = seconds(lambda: run("sample", "--model", model, "--prompt", "The", "--greedy", "--max-new-tokens", 1))
        shown = seconds(lambda: run("inspect", model))
        print(f"| {pathlib.Path(model).name} | {peer:.3f} s | {own:.3f} s | {own / peer:.2f} | {shown:.3f} s |")
sys.exit(failures > 0)

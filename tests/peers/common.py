"""What the checks in this folder share: the vbon program, and tiny random checkpoints of each family."""
import importlib.util, json, os, pathlib, shutil, subprocess, sys

tests = pathlib.Path(__file__).resolve().parent.parent


def needs(*modules):
    """Ends the check as skipped (CTest's code 77) where this Python lacks one of them."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: {sys.executable} lacks {', '.join(missing)}; cmake -DVBON_PEERS_PYTHON=PYTHON takes another")
        sys.exit(77)


def cache():
    chosen = os.environ.get("VBON_CACHE")
    return pathlib.Path(chosen) if chosen else pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "vbon"


def run(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{program} {' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def read_lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines() if line.strip()]


class Verdict:
    """Prints each largest difference; `end()` exits with 1 where one was above what was allowed."""

    failures = 0

    def hold(self, what, difference, most):
        within = difference <= most  # false for NaN
        print(f"{what}: largest difference {difference:.2e}" + ("" if within else f", at most {most} expected"), flush=True)
        self.failures += not within

    def end(self):
        sys.exit(self.failures > 0)


def _save(model, folder, tokenizer):
    import torch

    with torch.no_grad():  # biases and norms begin as zeros and ones, and would hide an error
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    model.float().save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        if (tokenizer / file).exists():
            shutil.copy(tokenizer / file, folder)


def causal_checkpoints(folder):
    """One causal model of each family, with the tokenizer of the tiny checkpoint of the tests."""
    import torch, transformers as tf

    source = tests / "data" / "tiny_llama"
    vocabulary = json.loads((source / "config.json").read_text())["vocab_size"]
    common = dict(vocab_size=vocabulary, bos_token_id=0, eos_token_id=1, initializer_range=0.2)
    llama = common | dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                          max_position_embeddings=256)
    neox = common | dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=256)
    scaled = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64,
                  rope_theta=10000.0)
    kinds = {
        "llama": tf.LlamaConfig(**llama),
        "llama, tied, biased": tf.LlamaConfig(**llama, tie_word_embeddings=True, attention_bias=True, mlp_bias=True),
        "llama, rope llama3": tf.LlamaConfig(**llama, rope_parameters=scaled),
        "llama, rope linear": tf.LlamaConfig(**llama, rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=10000.0)),
        "qwen2": tf.Qwen2Config(**llama),
        "qwen3": tf.Qwen3Config(**llama, head_dim=32),
        "gemma": tf.GemmaConfig(**llama, head_dim=32),
        "gpt2": tf.GPT2Config(**common, n_embd=64, n_layer=2, n_head=4, n_positions=256),
        "gpt_neox, parallel": tf.GPTNeoXConfig(**neox, rotary_pct=0.5),
        "gpt_neox, sequential": tf.GPTNeoXConfig(**neox, use_parallel_residual=False),
        "gpt_neox, tied": tf.GPTNeoXConfig(**neox, tie_word_embeddings=True),
    }
    for number, (name, config) in enumerate(kinds.items()):
        torch.manual_seed(300 + number)
        place = pathlib.Path(folder) / f"tiny_{number}"
        _save(tf.AutoModelForCausalLM.from_config(config), place, source)
        yield name, place


def encoder_checkpoints(folder):
    """One encoder of each family, with the tokenizer of the fetched MiniLM."""
    import torch, transformers as tf

    tokenizers = sorted(path.parent for path in cache().rglob("vocab.txt") if (path.parent / "tokenizer.json").exists())
    if not tokenizers:
        sys.exit(f"no encoder with vocab.txt and tokenizer.json below {cache()}: sh examples/setup/fetch_data.sh fetches MiniLM")
    common = dict(vocab_size=30522, initializer_range=0.2, max_position_embeddings=64, pad_token_id=0)
    bert = common | dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48)
    kinds = {
        "bert": tf.BertConfig(**bert),
        "roberta": tf.RobertaConfig(**bert),
        "distilbert": tf.DistilBertConfig(**common, dim=32, n_layers=2, n_heads=4, hidden_dim=48),
    }
    for number, (name, config) in enumerate(kinds.items()):
        torch.manual_seed(500 + number)
        place = pathlib.Path(folder) / f"encoder_{number}"
        _save(tf.AutoModel.from_config(config), place, tokenizers[0])
        yield name, place

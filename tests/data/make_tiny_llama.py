"""Writes tiny_llama/: a Llama checkpoint of 31 thousand random weights with a tokenizer of letters and a few words.

Standard library only; the same bytes on every run. Used by the tests of the program: its texts are nonsense, but it
loads, samples, learns and saves like a large one.
"""
import json
import pathlib
import random
import struct

folder = pathlib.Path(__file__).parent / "tiny_llama"
folder.mkdir(exist_ok=True)

# A byte-level BPE whose alphabet is a to z, the full stop and the space; merges build a few words.
space = "\u0120"
vocabulary = ["<|endoftext|>", "<|user|>", "<|assistant|>", "."] + [chr(c) for c in range(ord("a"), ord("z") + 1)] + [space]
merges = []
for word in [" the", " film", " is", " good", " bad", " fine", " dull", " a", " great", " not", " and", " was"]:
    pieces = [space if c == " " else c for c in word]
    while len(pieces) > 1:
        pair = pieces[0], pieces[1]
        if list(pair) not in merges:
            merges.append(list(pair))
        pieces[:2] = ["".join(pair)]
        if pieces[0] not in vocabulary:
            vocabulary.append(pieces[0])
special = [
    {"id": i, "content": vocabulary[i], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    for i in range(3)
]
byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
tokenizer = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
    "pre_tokenizer": byte_level, "post_processor": None, "decoder": byte_level,
    "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
              "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
              "vocab": {token: i for i, token in enumerate(vocabulary)}, "merges": [" ".join(m) for m in merges]},
}
chat = ("{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")
tokenizer_config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
                    "pad_token": "<|endoftext|>", "model_max_length": 64, "chat_template": chat}

width, layers, heads, kv_heads, inner = 32, 2, 4, 2, 64
config = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": len(vocabulary), "hidden_size": width,
    "intermediate_size": inner, "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "hidden_act": "silu",
    "attention_bias": False, "mlp_bias": False, "bos_token_id": 0, "eos_token_id": 0, "torch_dtype": "float32",
}

draw = random.Random(7)
tensors = {}
def add(name, rows, columns, scale):
    tensors[name] = ([rows, columns], [draw.gauss(0, scale) for _ in range(rows * columns)])
def add_norm(name):
    tensors[name] = ([width], [1 + draw.gauss(0, 0.1) for _ in range(width)])

add("model.embed_tokens.weight", len(vocabulary), width, 0.5)
for layer in range(layers):
    at = f"model.layers.{layer}."
    kv = width // heads * kv_heads
    for name, rows, columns in [("self_attn.q_proj", width, width), ("self_attn.k_proj", kv, width), ("self_attn.v_proj", kv, width),
                                ("self_attn.o_proj", width, width), ("mlp.gate_proj", inner, width), ("mlp.up_proj", inner, width),
                                ("mlp.down_proj", width, inner)]:
        add(at + name + ".weight", rows, columns, 0.8 / columns ** 0.5)
    add_norm(at + "input_layernorm.weight")
    add_norm(at + "post_attention_layernorm.weight")
add_norm("model.norm.weight")

header, body = {"__metadata__": {"format": "pt"}}, b""
for name, (shape, values) in tensors.items():
    raw = struct.pack(f"<{len(values)}f", *values)
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(raw)]}
    body += raw
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
(folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
for name, content in [("config.json", config), ("tokenizer.json", tokenizer), ("tokenizer_config.json", tokenizer_config)]:
    (folder / name).write_text(json.dumps(content, indent=1) + "\n")

prompts = [" ".join(draw.choice("the film was is a and not good bad fine dull great".split()) for _ in range(draw.randint(2, 5)))
           for _ in range(40)]
(pathlib.Path(__file__).parent / "tiny_prompts.jsonl").write_text("".join(json.dumps({"prompt": p}) + "\n" for p in dict.fromkeys(prompts)))
(pathlib.Path(__file__).parent / "tiny_lexicon.txt").write_text("good\t2\nbad\t-2\nfine\t1\ndull\t-1\ngreat\t3\nthe\t0.25\na\t0.1\n")

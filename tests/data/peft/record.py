"""Records LoRA adapters of peft on the tiny checkpoints in ../causal_families, with the logits, log-probs and
adapter gradients that transformers and peft give for them: `python record.py` writes the folders beside it.
tests/peers/check_adapters.py lets peft load what vbon writes of them.

Recorded with torch 2.9, transformers 5.24 and peft 0.21, float32, CPU."""
import json, pathlib, torch, transformers as tf
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
adapters = {
    "llama_list": ("llama_biased", dict(r=3, lora_alpha=6, target_modules=["q_proj", "v_proj"])),
    "llama_regex": ("llama_llama3_rope", dict(r=2, lora_alpha=5, use_rslora=True, target_modules=r".*layers\.1\.(self_attn\.[ko]|mlp\.down)_proj")),
    "qwen3_all_linear": ("qwen3", dict(r=2, lora_alpha=2, target_modules="all-linear", exclude_modules=["up_proj"])),
    "gpt2_conv1d": ("gpt2_scaled_by_layer", dict(r=3, lora_alpha=4, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)),
    "neox_fused": ("neox", dict(r=2, lora_alpha=4, target_modules=["query_key_value", "dense"])),
}


def base_model(name):
    return tf.AutoModelForCausalLM.from_pretrained(here / name if name == "neox" else here.parent / "causal_families" / name, dtype=torch.float32).eval()


def record():
    torch.manual_seed(90)  # the only causal GPT-NeoX among the recorded checkpoints
    config = tf.GPTNeoXConfig(vocab_size=24, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=2,
                              max_position_embeddings=64, rotary_pct=0.5, initializer_range=0.3, bos_token_id=1, eos_token_id=2)
    tf.GPTNeoXForCausalLM(config).float().save_pretrained(here / "neox")
    (here / "neox" / "generation_config.json").unlink(missing_ok=True)
    for number, (name, (base, options)) in enumerate(adapters.items()):
        torch.manual_seed(200 + number)
        model = get_peft_model(base_model(base), LoraConfig(task_type="CAUSAL_LM", **options)).eval()
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if "lora_" in key:
                    parameter.copy_(0.3 * torch.randn_like(parameter))
        folder = here / name
        model.save_pretrained(folder)
        (folder / "README.md").unlink(missing_ok=True)
        config = json.loads((folder / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = base
        for key in ("target_modules", "exclude_modules"):  # sets: their order changes from run to run
            if isinstance(config[key], list):
                config[key].sort()
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=1) + "\n")
        ids = torch.randint(3, 24, (1, 24))
        logits = model(input_ids=ids).logits
        chosen = torch.log_softmax(logits[:, :-1], -1).gather(-1, ids[:, 1:, None])[..., 0]
        weights = torch.randn(chosen.shape)
        (weights * chosen).sum().backward()
        out = {"input_ids": ids, "logits": logits, "logprobs": chosen, "weights": weights}
        out |= {"grad." + n.removeprefix("base_model.model.").replace(".default", ""): p.grad for n, p in model.named_parameters() if p.grad is not None}
        out["merged_logits"] = model.merge_and_unload()(input_ids=ids).logits
        save_file({k: v.detach().contiguous() for k, v in out.items()}, folder / "expected.safetensors")


record()

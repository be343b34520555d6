"""Records tiny random checkpoints of families and options that the shared fixtures do not have, with the
logits and log-probs transformers gives for them. Usage: python record.py [NAME ...] (writes these folders beside it,
or all). Recorded with torch 2.9 (gemma: 2.15) and transformers 5.24, float32, CPU."""
import json, pathlib, sys, torch, transformers as tf
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent
common = dict(vocab_size=24, hidden_size=16, intermediate_size=20, num_hidden_layers=2, num_attention_heads=4,
              num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3, bos_token_id=1, eos_token_id=2, pad_token_id=0)
llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16, rope_theta=500000.0)
models = {
    "qwen2_tied": (tf.Qwen2ForCausalLM, tf.Qwen2Config(**common, tie_word_embeddings=True, rope_parameters=dict(rope_type="default", rope_theta=1e6))),
    "qwen3": (tf.Qwen3ForCausalLM, tf.Qwen3Config(**common, head_dim=8, tie_word_embeddings=False, rope_parameters=dict(rope_type="default", rope_theta=1e6))),
    "llama_llama3_rope": (tf.LlamaForCausalLM, tf.LlamaConfig(**common, rope_parameters=llama3)),
    "llama_linear_rope": (tf.LlamaForCausalLM, tf.LlamaConfig(**common, rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=10000.0))),
    "llama_biased": (tf.LlamaForCausalLM, tf.LlamaConfig(**common, attention_bias=True, mlp_bias=True, tie_word_embeddings=True)),
    "gpt2_scaled_by_layer": (tf.GPT2LMHeadModel, tf.GPT2Config(vocab_size=24, n_embd=16, n_layer=2, n_head=4, n_inner=20, n_positions=64,
        activation_function="relu", scale_attn_by_inverse_layer_idx=True, initializer_range=0.3, bos_token_id=1, eos_token_id=2)),
    "neox_score": (tf.GPTNeoXForSequenceClassification, tf.GPTNeoXConfig(vocab_size=24, hidden_size=16, intermediate_size=20, num_hidden_layers=2,
        num_attention_heads=2, max_position_embeddings=64, rotary_pct=0.5, num_labels=3, initializer_range=0.3, bos_token_id=1, eos_token_id=2, pad_token_id=0)),
    "gemma": (tf.GemmaForCausalLM, tf.GemmaConfig(**common, head_dim=8)),
}
for number, (name, (kind, config)) in enumerate(models.items()):
    if sys.argv[1:] and name not in sys.argv[1:]:
        continue
    torch.manual_seed(100 + number)
    model = kind(config).eval().float()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    folder = here / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = torch.randint(3, 24, (1, 40))
    logits = model(input_ids=ids).logits
    out = {"input_ids": ids, "logits": logits}
    if logits.dim() == 3:
        chosen = torch.log_softmax(logits[:, :-1], -1).gather(-1, ids[:, 1:, None])[..., 0]
        weights = torch.randn(chosen.shape)
        (weights * chosen).sum().backward()
        out |= {"logprobs": chosen, "weights": weights}
    else:
        weights = torch.randn(logits.shape)
        (weights * logits).sum().backward()
        out |= {"weights": weights}
    out |= {"grad." + n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    save_file({k: v.detach().contiguous() for k, v in out.items()}, folder / "expected.safetensors")

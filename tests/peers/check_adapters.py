"""Lets peft and transformers load the LoRA adapters that vbon writes, plain and merged, and holds their logits against those
of the recorded adapters (tests/data/peft), computed by the same peft in the same process. Usage:

    python check_adapters.py build/release/tests/test.policy

The test program of the policies writes the adapters; Python needs torch, transformers and peft. The plain adapter holds the
same numbers, so its logits must be equal; merging rounds each weight once, so 2e-4 is allowed there."""
import os, pathlib, subprocess, sys, tempfile

import common

common.needs("torch", "transformers", "peft", "safetensors")
import torch, transformers as tf
from peft import PeftModel
from safetensors.torch import load_file

recorded = common.tests / "data" / "peft"
verdict = common.Verdict()
with tempfile.TemporaryDirectory() as written, torch.no_grad():
    subprocess.run([sys.argv[1], "--filenames-as-tags", "[#peft_test]"], check=True, stdout=subprocess.DEVNULL,
                   env=os.environ | {"VBON_KEEP_ADAPTERS": written})
    folders = sorted(path.parent for path in recorded.glob("*/adapter_config.json"))
    for folder in folders:
        ids = load_file(folder / "expected.safetensors")["input_ids"]
        base = common.json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
        source = recorded / base if (recorded / base).exists() else recorded.parent / "causal_families" / base

        def logits(adapter):
            model = tf.AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
            return PeftModel.from_pretrained(model, adapter).eval()(input_ids=ids).logits

        expected, own = logits(folder), pathlib.Path(written) / folder.name
        merged = tf.AutoModelForCausalLM.from_pretrained(own / "merged", dtype=torch.float32).eval()(input_ids=ids).logits
        verdict.hold(f"{folder.name}, adapter", (logits(own / "adapter") - expected).abs().max().item(), 0)
        verdict.hold(f"{folder.name}, merged", (merged - expected).abs().max().item(), 2e-4)
    if not folders:
        sys.exit(f"no recorded adapters in {recorded}")
verdict.end()

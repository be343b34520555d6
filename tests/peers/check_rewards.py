"""Trains reward models with `vbon train-reward` and with torch, from the same start on the same pairs, and holds losses,
gradient norms, the rewards at the end and `vbon score` against one another. Usage:

    python check_rewards.py build/release/examples/vbon

Tiny random BERT, RoBERTa, DistilBERT, GPT-2, Llama and GPT-NeoX models, each in full and with --head-only; torch uses TRL's
loss (Bradley-Terry with margin and centring). Python needs torch and transformers. Allowed: 1e-4 for scores, 1e-3 for
what 20 steps of training end with (rounding grows from step to step)."""
import json, pathlib, sys, tempfile

import common

common.needs("torch", "transformers")
import torch, transformers as tf

vbon, verdict = sys.argv[1], common.Verdict()
pairs = [
    ("the film is ", "a joy from the first scene to the last", "dull, and far too long"),
    ("we left ", "with a smile", "before the end"),
    ("the cast ", "shines in every quiet moment of this story", "looks tired"),
    ("a plot ", "that surprises", "that one has seen a hundred times, told without a spark"),
    ("its music ", "stays with you", "drowns the words"),
    ("the jokes ", "are warm and quick", "fall flat, one after the other"),
    ("i would ", "watch it again", "ask for my money"),
    ("in short ", "a small wonder", "no"),
]
margins = [0.0, 0.5, 0.0, 1.0, 0.25, 0.0, 0.0, 0.75]


def load(folder):
    model = tf.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), tf.AutoTokenizer.from_pretrained(folder)  # eval: no dropout, as in vbon


def rewards(model, tokenizer, texts):
    logits = model(**tokenizer(texts, return_tensors="pt", padding=len(texts) > 1, truncation=True)).logits
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def check(name, start, folder, head_only):
    file = folder / "pairs.jsonl"
    rows = [dict(prompt=p, chosen=c, rejected=r, margin=m) for (p, c, r), m in zip(pairs, margins)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    common.run(vbon, "train-reward", "--model", start, "--pairs", file, "--steps", 0, "--held-out-share", 0, "--out", folder / "start")
    common.run(vbon, "train-reward", "--model", folder / "start" / "model", "--pairs", file, "--centering", 0.01, "--batch", len(rows),
               "--epochs", 20, "--learning-rate", 1e-3, "--decay", "constant", "--held-out-share", 0, "--out", folder / "run",
               *(["--head-only"] if head_only else []))
    settings = json.loads((folder / "run" / "run.json").read_text())["settings"]
    steps = [row for row in common.read_lines(folder / "run" / "metrics.jsonl") if row["phase"] == "train_reward"]
    assert len(steps) == 20 and settings["weight-decay"] == 0, "twenty steps of all pairs, without decay, were asked for"

    model, tokenizer = load(folder / "start" / "model")
    texts = [row["prompt"] + row[side] for side in ("chosen", "rejected") for row in rows]
    if head_only:
        for parameter in model.base_model.parameters():
            parameter.requires_grad_(False)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings["learning-rate"], weight_decay=0)
    of_loss = of_norm = 0.0
    for step in steps:
        chosen, rejected = rewards(model, tokenizer, texts).chunk(2)
        loss = -torch.nn.functional.logsigmoid(chosen - rejected - torch.tensor(margins)).mean()
        loss = loss + settings["centering"] * ((chosen + rejected) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, float(settings["clip"]))
        optimizer.step()
        of_loss = max(of_loss, abs(loss.item() - step["loss"]))
        of_norm = max(of_norm, abs(norm.item() - step["gradient_norm"]) / max(1, norm.item()))
    verdict.hold(f"{name}, loss over 20 steps", of_loss, 1e-3)
    verdict.hold(f"{name}, gradient norm, relative", of_norm, 1e-2)

    ended, _ = load(folder / "run" / "model")
    (folder / "texts.jsonl").write_text("".join(json.dumps(dict(text=text)) + "\n" for text in texts))
    scores = common.run(vbon, "score", "--reward", f"classifier:{folder / 'run' / 'model'}", "--input", folder / "texts.jsonl")
    own = torch.tensor([json.loads(line)["reward"] for line in scores.splitlines()])
    with torch.no_grad():
        together = rewards(ended, tokenizer, texts)
        alone = torch.cat([rewards(ended, tokenizer, [text]) for text in texts])
        verdict.hold(f"{name}, rewards at the end", (rewards(model, tokenizer, texts) - together).abs().max().item(), 1e-3)
    verdict.hold(f"{name}, scores one by one", (alone - own).abs().max().item(), 1e-4)
    verdict.hold(f"{name}, scores in a padded batch", (together - own).abs().max().item(), 1e-4)


with tempfile.TemporaryDirectory() as temporary:
    temporary = pathlib.Path(temporary)
    causal = {"gpt2", "llama", "gpt_neox, parallel"}
    starts = [*common.encoder_checkpoints(temporary), *((n, p) for n, p in common.causal_checkpoints(temporary) if n in causal)]
    for name, start in starts:
        for head_only in (False, True):
            folder = temporary / f"{start.name}_{'head' if head_only else 'full'}"
            folder.mkdir()
            check(name + (", head only" if head_only else ""), start, folder, head_only)
verdict.end()

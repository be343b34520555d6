"""Holds reward models that `vbon train-reward` wrote, and its training, against transformers and torch. Usage, with
torch and transformers (recent versions, from the package index) and a build of vbon:

    vbon score --reward classifier:MODEL --input texts.jsonl > scores.jsonl
    python check.py scores MODEL scores.jsonl

        AutoModelForSequenceClassification gives the same rewards, text by text and in a padded batch.

    vbon train-reward --model START --pairs pairs.jsonl --centering 0.01 --batch N --epochs 20 --learning-rate 1e-3 \\
        --decay constant --held-out-share 0 --out RUN        # N: the number of pairs, so that a step takes all of them
    python check.py training START RUN pairs.jsonl

        The same training in torch, with TRL's loss, has the same losses and ends at the same rewards. START must have a
        head of one output; `vbon train-reward --steps 0` gives a model one.

Prints the largest differences; fails above 1e-4 (scores) and 1e-3 (training: rounding grows from step to step)."""
import json, pathlib, sys, torch, transformers as tf


def read_lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines() if line.strip()]


def load(folder):
    model = tf.AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    return model.eval(), tf.AutoTokenizer.from_pretrained(folder)  # eval: no dropout, as in vbon


def rewards(model, tokenizer, texts):
    logits = model(**tokenizer(texts, return_tensors="pt", padding=len(texts) > 1, truncation=True)).logits
    return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]


def report(what, difference, most):
    print(f"{what}: largest difference {difference:.2e}")
    if not difference <= most:
        sys.exit(f"{what}: at most {most} expected")


def scores(folder, file):
    model, tokenizer = load(folder)
    rows = read_lines(file)
    texts = [row.get("prompt", "") + row["text"] for row in rows]
    expected = torch.tensor([row["reward"] for row in rows])
    with torch.no_grad():
        alone = torch.cat([rewards(model, tokenizer, [text]) for text in texts])
        report("one by one", (alone - expected).abs().max().item(), 1e-4)
        report("in a padded batch", (rewards(model, tokenizer, texts) - expected).abs().max().item(), 1e-4)


def training(start, run, file):
    settings = json.loads((pathlib.Path(run) / "run.json").read_text())["settings"]
    steps = [row for row in read_lines(pathlib.Path(run) / "metrics.jsonl") if row["phase"] == "train_reward"]
    model, tokenizer = load(start)
    pairs = read_lines(file)
    assert settings["batch"] == len(pairs) and settings["decay"] == "constant" and settings["weight-decay"] == 0
    texts = [row["prompt"] + row[side] for side in ("chosen", "rejected") for row in pairs]
    margin = torch.tensor([row.get("margin", 0.0) for row in pairs])
    if settings["head-only"]:
        for parameter in model.base_model.parameters():
            parameter.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings["learning-rate"], weight_decay=0)
    loss_difference = norm_difference = 0
    for step in steps:
        chosen, rejected = rewards(model, tokenizer, texts).chunk(2)
        loss = -torch.nn.functional.logsigmoid(chosen - rejected - margin).mean() + settings["centering"] * ((chosen + rejected) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained, settings["clip"] if settings["clip"] != "inf" else float("inf"))
        optimizer.step()
        loss_difference = max(loss_difference, abs(loss.item() - step["loss"]))
        norm_difference = max(norm_difference, abs(norm.item() - step["gradient_norm"]) / max(1, norm.item()))
    report(f"loss over {len(steps)} steps", loss_difference, 1e-3)
    report("gradient norm, relative", norm_difference, 1e-2)
    ended, _ = load(pathlib.Path(run) / "model")
    with torch.no_grad():
        report("rewards at the end", (rewards(model, tokenizer, texts) - rewards(ended, tokenizer, texts)).abs().max().item(), 1e-3)


if __name__ == "__main__":
    {"scores": scores, "training": training}[sys.argv[1]](*sys.argv[2:])

"""The phases of the main job as one would well write them in PyTorch and transformers; peers.py and peers_job.py time them."""
import torch, transformers


def draw(logits):
    """A token of each row [rows, 1], by a uniform number and the sums of the probabilities: torch.multinomial takes twenty
    times as long."""
    sums = logits.float().softmax(-1).cumsum(-1)
    return torch.searchsorted(sums, torch.rand(len(sums), 1) * sums[:, -1:], right=True).clamp_(max=sums.shape[1] - 1)


@torch.no_grad()
def sample(model, prompts, group, new_tokens):
    """Tokens of `group` responses of each prompt, full vocabulary, temperature 1.

    Prompts are padded on the left and computed once, then comes a token of every sequence at a time.
    """
    longest = max(map(len, prompts))
    pad = [longest - len(one) for one in prompts]
    tokens = torch.tensor([[0] * p + one for p, one in zip(pad, prompts)])
    mask = torch.tensor([[0] * p + [1] * len(one) for p, one in zip(pad, prompts)])
    position = (mask.cumsum(1) - 1).clamp(min=0)
    kept = model(tokens, attention_mask=mask, position_ids=position, use_cache=True, logits_to_keep=1)
    past = kept.past_key_values
    past.batch_repeat_interleave(group)
    mask, position = mask.repeat_interleave(group, 0), position[:, -1:].repeat_interleave(group, 0)
    logits, drawn = kept.logits[:, -1].repeat_interleave(group, 0), []
    for step in range(new_tokens):
        token = draw(logits)
        drawn.append(token)
        if step + 1 == new_tokens:
            break
        mask, position = torch.cat([mask, mask.new_ones(len(mask), 1)], 1), position + 1
        out = model(token, attention_mask=mask, position_ids=position, past_key_values=past, use_cache=True)
        past, logits = out.past_key_values, out.logits[:, -1]
    return torch.cat(drawn, 1)


def padded(prompts, responses):
    """A prompt and its response a row, padded on the right: tokens, mask, and what to predict (the responses)."""
    rows = [prompt + response for prompt, response in zip(prompts, responses)]
    longest = max(map(len, rows))
    tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    wanted = torch.zeros(mask.shape, dtype=torch.bool)
    for row, (prompt, whole) in enumerate(zip(prompts, rows)):
        wanted[row, len(prompt) : len(whole)] = True
    return tokens, mask, wanted[:, 1:]


def response_log_probs(model, batch):
    """Of the response tokens, end to end: logits are computed at these alone."""
    tokens, mask, wanted = batch
    hidden = model.base_model(tokens, attention_mask=mask).last_hidden_state[:, :-1][wanted]
    return torch.nn.functional.cross_entropy(model.lm_head(hidden).float(), tokens[:, 1:][wanted], reduction="none").neg()


class SentenceEncoder:
    """Mean-pooled states at unit length, texts of like length together."""

    def __init__(self, folder, dtype=torch.float32):
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.encoder = transformers.AutoModel.from_pretrained(folder, dtype=dtype).eval()

    @torch.no_grad()
    def __call__(self, texts, layers=(-1,)):
        """One row for each text, the layers side by side; 0: embeddings."""
        ids = self.tokenizer(texts, truncation=True)["input_ids"]
        order = sorted(range(len(texts)), key=lambda i: -len(ids[i]))
        features = [None] * len(texts)
        for begin in range(0, len(order), 32):
            part = order[begin : begin + 32]
            batch = self.tokenizer.pad({"input_ids": [ids[i] for i in part]}, return_tensors="pt")
            states = self.encoder(**batch, output_hidden_states=True).hidden_states
            weight = batch["attention_mask"].unsqueeze(-1).to(states[0].dtype)
            pooled = [torch.nn.functional.normalize((states[k] * weight).sum(1) / weight.sum(1)) for k in layers]
            for i, row in zip(part, torch.cat(pooled, 1)):
                features[i] = row
        return torch.stack(features)

"""The whole job, and a step of it, by vbon and by others; peers.py puts them into its table.

References of every prompt are sampled and scored; then the policy is sampled, scored, held against the reference and moved,
a step after another, in fp32 or with products in bf16 (weights that are trained stay fp32). Others run in a process of their
own, this file as a program, so that the memory they hold is their own:

    PYTHON peers_job.py by_torch|by_trl SETTINGS    # prints a line of JSON
"""
import dataclasses, json, math, os, pathlib, statistics, subprocess, sys, time


@dataclasses.dataclass
class Settings:
    model: str       # Hugging Face folder whose config names no end token: every response has all its tokens
    reward: str      # folder of a linear head on MiniLM
    prompts: list
    held_out: str    # a prompt: an evaluation is the end of `vbon align`, the smallest is asked for, and not counted
    threads: int
    references: int = 32
    steps: int = 20
    step_prompts: int = 16
    samples: int = 4
    new_tokens: int = 24
    n: float = 4
    rate: float = 1e-5
    bf16: bool = False
    lean: bool = False  # vbon with less memory: it makes most activations again

    def step_responses(self):
        return min(self.step_prompts, len(self.prompts)) * self.samples


@dataclasses.dataclass
class Result:
    seconds: float       # from loading the model to the last step
    references: float    # seconds of them
    steps: list          # seconds of each
    tokens: int          # sampled
    rewards: int         # computed
    reference_mean: list  # reward of the references of each prompt
    step_mean: list      # reward of the responses of each step
    losses: list
    loss_error: float = 0  # standard error of the first loss, by prompt
    moved: float = 0      # root mean square of what the steps changed of all weights
    gigabytes: float = 0  # held at most


def moved(before, after):
    """Root mean square of the difference of two folders' weights, or of a folder's and those of a network."""
    import safetensors.torch

    read = lambda folder: {name: value for file in pathlib.Path(folder).glob("*.safetensors")
                           for name, value in safetensors.torch.load_file(file).items()}
    old, new = read(before), read(after) if isinstance(after, (str, pathlib.Path)) else dict(after.named_parameters())
    shared = [(old[name], new[name].detach()) for name in old if name in new]
    if not shared:
        sys.exit(f"no weight of {before} is found again by its name")
    return math.sqrt(sum((a.double() - b.double()).square().sum().item() for a, b in shared) / sum(a.numel() for a, _ in shared))


def plain_environment():
    """Of vbon: what the peers are helped by is not for it."""
    return {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}


def run_alone(words, environment=None):
    """What a program prints and how much memory it held at most, in GB.

    A small process starts it: the system counts what the starting process held at that moment as the program's.
    """
    starter = ("import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
               "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(code)")
    done = subprocess.run([sys.executable, "-c", starter, *map(str, words)], capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    lines = done.stdout.splitlines()
    return lines[:-1], int(lines[-1]) * 1024 / 1e9


def by_vbon(program, settings, folder):
    """`vbon align` from a new folder. Seconds are those of its stages from loading the model to the last step, in which it
    also reads the reward and writes its metrics and one checkpoint; the references of the held-out prompt are left out."""
    s, run = settings, pathlib.Path(folder)
    run.mkdir()
    for name, texts in (("prompts", s.prompts), ("held_out", [s.held_out])):
        (run / f"{name}.jsonl").write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    out = run / "run"
    _, gigabytes = run_alone(
        [program, "align", "--quiet", "--out", out, "--threads", s.threads, "--model", s.model,
         "--reward", f"encoder_head:{s.reward}", "--prompts", run / "prompts.jsonl", "--training-prompts", len(s.prompts),
         "--evaluation-prompts", run / "held_out.jsonl", "--evaluation-samples", 1, "--evaluation-references", 2,
         "--references", s.references, "--max-new-tokens", s.new_tokens, "--temperature", 1, "--n", s.n, "--warm-steps", 0,
         "--steps", s.steps, "--step-prompts", min(s.step_prompts, len(s.prompts)), "--samples", s.samples,
         "--learning-rate", s.rate, "--checkpoint-every", 0,
         *(["--bf16", "--reward-bf16"] if s.bf16 else []),
         *(["--recompute"] if s.lean else [])], plain_environment())
    read = lambda name: [json.loads(line) for line in (out / name).read_text().splitlines()]
    rows, metrics, timing = read("references.jsonl"), read("metrics.jsonl"), read("timing.jsonl")
    stages = json.loads((out / "times.json").read_text())["seconds"]
    return Result(seconds=sum(stages[name] for name in ("load model", "references", "start training", "align")),
                  references=stages["references"], steps=[row["step_seconds"] for row in timing],
                  tokens=sum(len(one) for row in rows for one in row["tokens"]) + sum(int(m["sampled_tokens"]) for m in metrics),
                  rewards=sum(len(row["rewards"]) for row in rows) + sum(int(m["reward_calls"]) for m in metrics),
                  reference_mean=[statistics.mean({row["prompt"]: row for row in rows}[text]["rewards"]) for text in s.prompts],
                  step_mean=[m["reward"] for m in metrics], losses=[m["loss"] for m in metrics],
                  moved=moved(s.model, out / "model"), gigabytes=gigabytes)


def by_other(kind, settings):
    lines, gigabytes = run_alone([sys.executable, __file__, kind, json.dumps(dataclasses.asdict(settings))])
    return Result(**json.loads(lines[-1]) | {"gigabytes": gigabytes})


def check_same_work(settings, ours, theirs):
    """Ends the program unless both sampled and scored as much as was asked, and the same law by the mean reward; says what
    was found."""
    responses = len(settings.prompts) * settings.references + settings.steps * settings.step_responses()
    for who, done in (("vbon", ours), ("PyTorch", theirs)):
        if (done.tokens, done.rewards) != (responses * settings.new_tokens, responses):
            sys.exit(f"{who}: {responses} responses of {settings.new_tokens} tokens expected, got {done.rewards} rewards and "
                     f"{done.tokens} tokens")
        if len(done.losses) != settings.steps or not all(map(math.isfinite, done.losses)):
            sys.exit(f"{who}: {settings.steps} finite losses expected, got {done.losses}")
    # The first step is made with the same weights, from samples and prompts of each one's own.
    if abs(ours.losses[0] - theirs.losses[0]) > 5 * math.sqrt(2) * theirs.loss_error:
        sys.exit(f"loss of the first step: {ours.losses[0]} with vbon, {theirs.losses[0]} with PyTorch, whose standard error is "
                 f"{theirs.loss_error:.3g}")
    # The same schedule of AdamW moves the weights as far: by the rate where gradients agree from step to step, less by noise.
    if not (theirs.moved > 0 and 0.8 < ours.moved / theirs.moved < 1.25):
        sys.exit(f"the weights moved by {ours.moved:.2e} with vbon and by {theirs.moved:.2e} with PyTorch, root mean square")
    difference = [a - b for a, b in zip(ours.reference_mean, theirs.reference_mean)]
    mean, error = statistics.mean(difference), statistics.stdev(difference) / math.sqrt(len(difference))
    if abs(mean) > 4 * error:
        sys.exit(f"mean reward of the references: vbon and PyTorch differ by {mean:.3f}, standard error {error:.3f}")
    return (f"mean reward of the references: vbon {statistics.mean(ours.reference_mean):.3f}, PyTorch "
            f"{statistics.mean(theirs.reference_mean):.3f}, difference {mean / error:.1f} standard errors; loss of the first step "
            f"{ours.losses[0]:.2f} and {theirs.losses[0]:.2f}; weights moved by {ours.moved:.2e} and {theirs.moved:.2e}")


class Reward:
    """A linear head on pooled states of MiniLM, as `vbon align` keeps it."""

    def __init__(self, folder, bf16=False):
        import peers_torch, safetensors.torch, torch

        about = json.loads((pathlib.Path(folder) / "reward.json").read_text())
        head = safetensors.torch.load_file(pathlib.Path(folder) / "head.safetensors")
        self.encoder, self.layers = peers_torch.SentenceEncoder(
            about["encoder"], torch.bfloat16 if bf16 else torch.float32), about["layers"]
        self.weight, self.bias = head["weight"], head["bias"]

    def __call__(self, texts):
        return self.encoder(texts, self.layers).double() @ self.weight + self.bias


def check_rewards(settings, folder):
    """The same texts, scored by both."""
    rows = [json.loads(line) for line in (pathlib.Path(folder) / "run" / "references.jsonl").read_text().splitlines()][:4]
    texts = [row["prompt"] + text for row in rows for text in row["responses"]]
    rewards = [reward for row in rows for reward in row["rewards"]]
    most = max(abs(a - b) for a, b in zip(Reward(settings.reward)(texts).tolist(), rewards))
    spread = statistics.stdev(rewards)
    if most > (0.1 * spread if settings.bf16 else 1e-4):  # PyTorch's are fp32 ones
        sys.exit(f"rewards of the same texts by vbon and PyTorch differ by {most}; their standard deviation is {spread}")
    return f"rewards of the same {len(texts)} texts: largest difference {most:.1e}, standard deviation {spread:.2f}"


def by_torch(s):
    """In bf16 the frozen networks are of it, and so is a copy of the policy that samples; the policy learns under autocast."""
    import copy, torch, transformers
    from peers_torch import padded, response_log_probs, sample

    torch.set_num_threads(s.threads)
    torch.manual_seed(1)
    begin = time.perf_counter()
    tokenizer = transformers.AutoTokenizer.from_pretrained(s.model)
    policy = transformers.AutoModelForCausalLM.from_pretrained(s.model, dtype=torch.float32).eval()
    reference = copy.deepcopy(policy).requires_grad_(False)
    reward = Reward(s.reward, s.bf16)
    sampler = policy
    if s.bf16:
        reference = reference.to(torch.bfloat16)
        sampler = copy.deepcopy(reference)
    ids = [tokenizer(text)["input_ids"] for text in s.prompts]
    counted = {"tokens": 0, "rewards": 0}

    def scored(model, which, group):
        drawn = sample(model, [ids[p] for p in which], group, s.new_tokens)
        texts = tokenizer.batch_decode(drawn, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        rewards = reward([s.prompts[which[i // group]] + text for i, text in enumerate(texts)])
        counted["tokens"] += drawn.numel()
        counted["rewards"] += len(rewards)
        return drawn, rewards

    started, together = time.perf_counter(), max(1, 128 // s.references)
    parts = [range(first, min(first + together, len(ids))) for first in range(0, len(ids), together)]
    known = torch.cat([scored(reference, part, s.references)[1] for part in parts]).view(len(ids), -1).sort(1).values
    references = time.perf_counter() - started

    # E[log F] without bias from the rank among M references is H_rank - H_M.
    harmonic = torch.cat([torch.zeros(1, dtype=torch.float64), (1 / torch.arange(1, s.references + 1).double()).cumsum(0)])
    optimizer = torch.optim.AdamW(policy.parameters(), lr=s.rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    factor = lambda done: (done + 1) / 2 if done < 1 else 1 - (done - 1) / (s.steps - 1)  # two steps up, then down to 0
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    waiting, seconds, means, losses, errors = [], [], [], [], []
    for _ in range(s.steps):
        step = time.perf_counter()
        if not waiting:
            waiting = torch.randperm(len(ids)).tolist()
        which, waiting = waiting[: s.step_prompts], waiting[s.step_prompts :]
        drawn, rewards = scored(sampler, which, s.samples)
        each = [p for p in which for _ in range(s.samples)]
        log_cdf = harmonic[torch.searchsorted(known[each], rewards[:, None]).squeeze(1)] - harmonic[-1]
        batch = padded([ids[p] for p in each], drawn.tolist())
        with torch.no_grad():
            log_ref = response_log_probs(reference, batch).view(len(each), -1).sum(1).double()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=s.bf16):
            log_prob = response_log_probs(policy, batch).view(len(each), -1).sum(1)
        # log((F + p)^N - F^N), p the reference's probability of the response: what best of N gives it
        log_bon = s.n * log_cdf + torch.expm1(s.n * torch.log1p((log_ref - log_cdf).exp())).log()
        score = (log_bon - log_prob.detach()).view(-1, s.samples)
        advantage = score - (score.sum(1, keepdim=True) - score) / (s.samples - 1)
        optimizer.zero_grad()
        (advantage.flatten() * log_prob).mean().neg().backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if s.bf16:
            torch._foreach_copy_(list(sampler.parameters()), [weight.detach() for weight in policy.parameters()])
        losses.append(-score.mean().item())
        errors.append(score.mean(1).std().item() / math.sqrt(len(score)))
        means.append(rewards.mean().item())
        seconds.append(time.perf_counter() - step)
    return Result(seconds=time.perf_counter() - begin, references=references, steps=seconds, **counted,
                  reference_mean=known.mean(1).tolist(), step_mean=means, losses=losses,
                  loss_error=errors[0], moved=moved(s.model, policy))


def by_trl(s):
    """Steps of the same size by RLOO, with the reference's log-probs in its reward."""
    import datasets, tempfile, torch, transformers, trl

    torch.set_num_threads(s.threads)
    tokenizer = transformers.AutoTokenizer.from_pretrained(s.model, padding_side="left")
    model = transformers.AutoModelForCausalLM.from_pretrained(s.model, dtype=torch.float32)
    head, counted, seconds, means = Reward(s.reward), {"tokens": 0, "rewards": 0}, [], []

    def sentiment(prompts, completions, completion_ids, **_):
        rewards = head([prompt + completion for prompt, completion in zip(prompts, completions)])
        counted["tokens"] += sum(map(len, completion_ids))
        counted["rewards"] += len(rewards)
        means.append(rewards.mean().item())
        return rewards.tolist()

    class Clock(transformers.TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.begin = time.perf_counter()

        def on_step_end(self, *_, **__):
            seconds.append(time.perf_counter() - self.begin)

    with tempfile.TemporaryDirectory() as folder:
        options = trl.RLOOConfig(
            output_dir=folder, use_cpu=True, bf16=False, gradient_checkpointing=False, optim="adamw_torch_fused", beta=0.05,
            per_device_train_batch_size=s.step_responses(), num_generations=s.samples, max_completion_length=s.new_tokens,
            generation_kwargs={"min_new_tokens": s.new_tokens}, temperature=1.0, max_steps=s.steps, learning_rate=s.rate,
            model_init_kwargs=None, save_strategy="no", report_to="none", disable_tqdm=True, logging_steps=1)
        trainer = trl.RLOOTrainer(model=model, reward_funcs=sentiment, args=options, processing_class=tokenizer,
                                  train_dataset=datasets.Dataset.from_dict({"prompt": s.prompts}), callbacks=[Clock()])
        if next(trainer.ref_model.parameters()).dtype != torch.float32 or next(model.parameters()).dtype != torch.float32:
            sys.exit("TRL does not compute in fp32")
        trainer.train()
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return Result(seconds=sum(seconds), references=0, steps=seconds, **counted, reference_mean=[], step_mean=means, losses=losses)


if __name__ == "__main__":
    work = {"by_torch": by_torch, "by_trl": by_trl}[sys.argv[1]]
    print("\n" + json.dumps(dataclasses.asdict(work(Settings(**json.loads(sys.argv[2]))))))

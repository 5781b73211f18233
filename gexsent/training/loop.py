"""One fit: one system, one partition, one seed; the best epoch on validation is kept.

A fit can be stopped at any moment. Its whole state is saved between epochs every half minute; started again it goes on
from there and ends with the same bytes as if it had never stopped.
"""

import copy
import hashlib
import inspect
import json
import math
import time
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from gexsent import tasks
from gexsent.digest import PACKAGE, import_closure, source_digest, write_atomically
from gexsent.errors import DataError
from gexsent.model import FineTuned, ModelConfig, build, load_model, save_model, system
from gexsent.model.parts import TokenInput
from gexsent.params import TrainParams
from gexsent.tasks import Task
from gexsent.training.data import Samples, epoch, hide_modality, hide_tokens, in_order
from gexsent.training.decide import best_shifts
from gexsent.training.losses import Criterion, total

DEAD = 0.01  # an expert with less than this share of its group's assignments over an epoch counts as dead


@dataclass(frozen=True)
class Job:
    """What one fit learns from. Rows index `samples` and `targets`; test rows are in neither list."""

    config: ModelConfig
    seed: int
    samples: Samples
    tasks: tuple[Task, ...]
    targets: Tensor  # (N, tasks), NaN where missing or not to be seen
    train_rows: Tensor
    valid_rows: Tensor
    text_layers: nn.Module | None = None  # of a fine-tuned system: where its encoder layers start from

    def key(self, params: TrainParams) -> str:
        """Digest of everything that decides the result: a saved fit with the same key need not be run again."""
        # The code of this system and of the training; another system's code may change without a new fit of this one.
        own = system(self.config.system)
        code = import_closure(Path(inspect.getfile(own.model)).relative_to(PACKAGE).as_posix())
        digest = hashlib.sha256(source_digest("arithmetic.py", "training", "tasks.py", *code).encode())
        made = [own.model.__qualname__, dict(own.changes)]
        digest.update(json.dumps(made, sort_keys=True).encode())
        plan = ("systems", "dropout_systems", "seeds", "fold_seeds", "tuned_seeds")
        unused = plan if own.drops_modality else (*plan, "modality_dropout")
        settings = {k: v for k, v in asdict(params).items() if k not in unused}
        if self.text_layers is None:
            del settings["encoder_lr"]
        else:
            settings |= self.text_layers.description
            digest.update(source_digest("encoders/layers.py").encode())
            digest.update(safetensors.torch.save(self.text_layers.state_dict()))
        learned = [asdict(task) for task in self.tasks]
        digest.update(json.dumps([asdict(self.config), settings, learned, self.seed], sort_keys=True).encode())
        for tensor in (self.targets, self.train_rows, self.valid_rows):
            digest.update(tensor.numpy().tobytes())
        digest.update(self.samples.digest.encode())
        return digest.hexdigest()


def fit(job: Job, params: TrainParams, folder: Path, *, device: str = "cpu", save_every: float = 30.0) -> dict:
    """Train, and leave model.safetensors, config.json, history.jsonl and fit.json in `folder`.

    Args:
        save_every: seconds between two saves of the whole state; what a kill can cost.

    Returns:
        What fit.json holds: key, epochs run, best epoch (from 1) and its validation loss.

    Raises:
        DataError: the loss is not finite: training diverged.
    """
    key = job.key(params)
    finished = folder / "fit.json"
    complete = finished.exists() and (folder / "model.safetensors").exists()
    if complete and (record := json.loads(finished.read_text()))["key"] == key:
        return record
    finished.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(job, params, device)
    run.resume(folder / "resume.pt", key)
    saved = time.monotonic()
    while run.goes_on():
        run.one_epoch()
        if time.monotonic() - saved >= save_every:
            run.save(folder / "resume.pt", key)
            saved = time.monotonic()
    lines = "".join(json.dumps(row) + "\n" for row in run.history)
    write_atomically(folder / "history.jsonl", lines.encode())
    run.finish()
    tasks.save(job.tasks, folder)
    save_model(run.model, job.config, folder)
    best = min(run.history, key=lambda row: row["valid_loss"])
    record = {"key": key, "epochs": len(run.history), "best_epoch": best["epoch"], "valid_loss": best["valid_loss"]}
    write_atomically(finished, (json.dumps(record, indent=2) + "\n").encode())
    (folder / "resume.pt").unlink(missing_ok=True)
    return record


class _Run:
    """The state of a fit between two epochs."""

    def __init__(self, job: Job, params: TrainParams, device: str):
        self.job, self.params, self.device = job, params, device
        torch.manual_seed(job.seed)
        self.order = torch.Generator().manual_seed(job.seed)
        self.modalities = torch.Generator().manual_seed(job.seed)  # its own, so that without it all else stays the same
        self.modality_dropout = params.modality_dropout if system(job.config.system).drops_modality else 0.0
        self.model = build(job.config, copy.deepcopy(job.text_layers))
        standardise(self.model, job.samples, job.train_rows)
        self.model.to(device)
        # What is validated and kept is a running mean of the weights: it moves less from step to step than the weights
        # do, so that the choice of an epoch, and stopping, follow the trend and not the noise.
        self.averaged = copy.deepcopy(self.model)
        self.samples, self.targets = job.samples.to(device), job.targets.to(device)
        self.criterion = Criterion.fit(job.tasks, job.targets[job.train_rows], params.balance).to(device)
        self.optimizer = torch.optim.AdamW(_groups(self.model, params), lr=params.lr, fused=True)
        steps = min(params.epoch_steps, math.ceil(len(job.train_rows) / params.batch)) * params.epochs
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: _warmup_cosine(step, params.warmup * steps, steps)
        )
        self.history: list[dict] = []
        self.best_weights: dict[str, Tensor] = {}

    def goes_on(self) -> bool:
        if not self.history:
            return True
        losses = [row["valid_loss"] for row in self.history]
        return len(losses) < self.params.epochs and len(losses) - 1 - losses.index(min(losses)) < self.params.patience

    def one_epoch(self) -> None:
        self.model.train()
        text_lengths = self.job.samples.text.lengths[self.job.train_rows]
        sums: dict[str, Tensor] = {}
        count = 0
        for picked in islice(epoch(text_lengths, self.params.batch, self.order), self.params.epoch_steps):
            for name, value in self.one_step(self.job.train_rows[picked]).items():
                sums[name] = sums.get(name, 0) + value * len(picked)
            count += len(picked)
        means = {name: value.cpu() / count for name, value in sums.items()}
        row = {"epoch": len(self.history) + 1} | {n: float(v) for n, v in means.items() if v.ndim == 0}
        for name, usage in means.items():
            if name.startswith("usage_"):
                row |= _usage(name.removeprefix("usage_"), usage)
        row |= self.validate()
        if not math.isfinite(row["train_loss"] + row["valid_loss"]):
            raise DataError(
                f"{self.job.config.system}, seed {self.job.seed}, epoch {row['epoch']}: the loss is {row['train_loss']} "
                f"in training and {row['valid_loss']} in validation; lower train.lr or train.clip in params.yaml"
            )
        if not self.history or row["valid_loss"] < min(past["valid_loss"] for past in self.history):
            self.best_weights = {n: value.detach().cpu().clone() for n, value in self.averaged.state_dict().items()}
        self.history.append(row)

    def one_step(self, rows: Tensor) -> dict[str, Tensor]:
        """One step of the optimiser on rows (B,), on the CPU: its losses (), and usage (E,) of each group of experts.

        They stay on the device, and nothing else here looks at a value there: the host runs ahead of a GPU.
        """
        batch = hide_tokens(self.samples.batch(rows), self.params.token_dropout, self.order)
        batch = hide_modality(batch, self.modality_dropout, self.modalities)
        with self._precision():
            output = self.model(batch)
        loss = total(self.criterion(output.heads, self.targets[rows.to(self.device, non_blocking=True)]))
        self.optimizer.zero_grad(set_to_none=True)
        (loss + sum(output.losses.values())).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.params.clip)
        self.optimizer.step()
        self.schedule.step()
        self._average()
        seen = {"train_loss": loss, **{f"aux_{name}": value for name, value in output.losses.items()}}
        seen |= {f"usage_{group}": usage for group, usage in output.usage.items()}
        return {name: value.detach().float() for name, value in seen.items()}

    @torch.no_grad()
    def _average(self) -> None:
        # The mean of the first steps is short, so that it forgets where training began (Tarvainen and Valpola 2017).
        done = self.schedule.last_epoch
        decay = min(self.params.average, done / (done + 9))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.model.parameters()), 1 - decay)

    def validate(self) -> dict[str, float]:
        """valid_loss and each task's own loss over all validation rows."""
        heads = forward(self.averaged, self.samples, self.job.valid_rows, batch=self.params.batch)
        losses = self.criterion.to("cpu")(heads, self.job.targets[self.job.valid_rows])
        names = {f"valid_{name}": float(value) for name, value in losses.items()}
        return {"valid_loss": float(total(losses)), **names}

    def finish(self) -> None:
        """Take the weights of the best epoch, and set the thresholds of its decisions (see `decide`)."""
        self.model.load_state_dict(self.best_weights)
        heads = forward(self.model, self.samples, self.job.valid_rows, batch=self.params.batch)
        shifts = {
            task.name: best_shifts(task, heads[task.name], heads[task.name] + self.criterion.shifts[task.name].cpu())
            for task in self.job.tasks
            if task.kind != "regression"
        }
        getattr(self.model, "heads", self.model).shift(shifts)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.split(":")[0], torch.bfloat16, enabled=self.device != "cpu")

    def save(self, path: Path, key: str) -> None:
        state = {
            "key": key,
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "best": self.best_weights,
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "history": self.history,
            "random": [torch.get_rng_state(), self.order.get_state()],
            "modalities": self.modalities.get_state(),
        }
        if self.device != "cpu":
            state["random"].append(torch.cuda.get_rng_state(self.device))
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def resume(self, path: Path, key: str) -> None:
        if not path.exists():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["key"] != key:
            return
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.history, self.best_weights = state["history"], state["best"]
        torch.set_rng_state(state["random"][0])
        self.order.set_state(state["random"][1])
        self.modalities.set_state(state["modalities"])
        if self.device != "cpu":
            torch.cuda.set_rng_state(state["random"][2], self.device)


@torch.inference_mode()
def forward(model: nn.Module, samples: Samples, rows: Tensor, *, batch: int) -> dict[str, Tensor]:
    """Head outputs {task: (len(rows), outputs)} on the CPU, in the order of `rows`; the model in evaluation mode."""
    model.eval()
    order, parts = [], []
    for picked in in_order(samples.text.lengths[rows], batch):
        order.append(picked)
        parts.append(model(samples.batch(rows[picked])).heads)
    back = torch.cat(order).argsort(stable=True)
    return {name: torch.cat([part[name].float() for part in parts]).cpu()[back] for name in parts[0]}


def standardise(model: nn.Module, samples: Samples, rows: Tensor) -> None:
    """Give every TokenInput of the model the mean and deviation of its modality over the tokens of these rows."""
    for name, module in model.named_modules():
        if isinstance(module, TokenInput):
            is_vision = "vision" in name or getattr(model, "modality", "") == "vision"
            tokens = samples.vision if is_vision else samples.frozen_text or samples.text
            module.standardise(*tokens.statistics(rows))


def load_fits(folder: Path) -> list[dict]:
    """History rows of every fit under models/: {system, partition, seed, epoch, train_loss, valid_loss, …}."""
    rows = []
    for path in sorted(folder.glob("*/*/seed*/history.jsonl")):
        system, partition, seed = path.parent.parts[-3:]
        run = {"system": system, "partition": partition, "seed": int(seed.removeprefix("seed"))}
        rows += [run | json.loads(line) for line in path.read_text().splitlines()]
    return rows


def predict(folder: Path, samples: Samples, rows: Tensor, *, batch: int, device: str = "cpu") -> dict[str, Tensor]:
    """Head outputs of a saved fit for some rows."""
    model, _ = load_model(folder)
    return forward(model.to(device), samples.to(device), rows, batch=batch)


def _groups(model: nn.Module, params: TrainParams) -> list[dict]:
    # Layers that come trained learn at a rate of their own: at that of fresh ones they would forget what they know.
    tuned = set(model.text_layers.parameters()) if isinstance(model, FineTuned) else set()
    fresh = [p for p in model.parameters() if p not in tuned]
    groups = []
    for members, lr in ((fresh, params.lr), ([p for p in model.parameters() if p in tuned], params.encoder_lr)):
        # Decay pulls matrices towards zero; norms and biases have no reason to be small.
        groups.append({"params": [p for p in members if p.ndim > 1], "lr": lr, "weight_decay": params.weight_decay})
        groups.append({"params": [p for p in members if p.ndim < 2], "lr": lr, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def _warmup_cosine(step: int, warmup: float, steps: int) -> float:
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1.0, steps - warmup))))


def _usage(group: str, usage: Tensor) -> dict[str, float]:
    """Entropy of an epoch's expert usage, 1 when even, and how many experts are dead. No tokens: nothing to say."""
    if not usage.sum() or len(usage) < 2:
        return {}
    share = usage / usage.sum()
    entropy = -(share * share.clamp_min(1e-12).log()).sum() / math.log(len(share))
    return {f"entropy_{group}": float(entropy), f"dead_{group}": int((share < DEAD).sum())}

"""The one training loop: supervised fine-tuning, reward models, offline objectives, pretraining.

A caller says how a list of examples becomes one row of quantities per example and how quantities become one loss per
example; the loop owns everything else. The loss of a step is sum(weight * loss) / N with N the rows of the global
batch that gave a finite loss, so splitting a batch into micro-batches or over processes changes nothing but rounding.
"""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import DistributedType
from torch import Tensor, nn
from tqdm import tqdm

from components.errors import ArtifactError, ParamsError
from components.training import checkpoint, distributed, sharding
from components.training.batching import epoch_batches, micro_batches
from components.training.checkpoint import Progress
from components.training.params import Compute, Optimization, check_sharding
from components.training.runtime import autocast, device_of
from components.training.schedule import learning_rate, total_steps

MAX_DROPPED = 0.01  # share of all examples of a run that may be dropped because their loss is not finite

Quantities = dict[str, Tensor]


@dataclass(frozen=True)
class Task:
    """What to learn from.

    `lengths`: tokens that each example occupies in a forward pass (for batching by length and the token budget).
    `forward(model, examples)` -> 1-D tensors with one value per example, with gradient, on the model's device.
    `loss(quantities)` -> one loss per example. `weights`: one factor per example (default 1), not renormalised.
    `constants(model, rows)` -> numbers that belong to a whole global batch (given as numbers of examples), without
    gradient; they are appended to the quantities of each of its examples. Every process must call the model equally
    often in it. `metrics(values)` -> what to log, from the detached quantities of a whole global batch (float64
    arrays, plus "loss").
    """

    examples: Sequence[Any]
    lengths: Sequence[int]
    forward: Callable[[nn.Module, list[Any]], Quantities]
    loss: Callable[[Quantities], Tensor]
    weights: Sequence[float] | None = None
    constants: Callable[[nn.Module, list[int]], Mapping[str, float]] | None = None
    metrics: Callable[[dict[str, np.ndarray]], dict[str, float]] | None = None


@dataclass(frozen=True)
class Trained:
    """What a run did. `seconds` covers this process since the last resume only; the rest is reproducible."""

    log: list[dict[str, Any]]
    steps: int
    rows: int
    tokens: int
    dropped: int
    seconds: float
    seconds_rows: int


def plan(lengths: Sequence[int], optimization: Optimization, seed: int) -> Iterator[list[int]]:
    """The global batch of every step of a run, as numbers of examples."""
    total, epoch = total_steps(len(lengths), optimization), 0
    while total > 0:
        for rows in epoch_batches(lengths, optimization.batch_size, seed=seed, epoch=epoch)[:total]:
            yield rows
            total -= 1
        epoch += 1


def train(
    model: nn.Module,
    task: Task,
    *,
    optimization: Optimization,
    compute: Compute,
    seed: int,
    identity: str,
    workdir: Path,
    title: str = "train",
) -> Trained:
    """Train `model` in place; resume from `workdir` if it holds a checkpoint of the same `identity`.

    Dropout is off throughout. On SIGTERM a checkpoint is written and SystemExit(143) raised. Raises ParamsError when
    training diverges, ArtifactError for a checkpoint of another run, WiringError if the processes run different things.

    `model` is a plain model before and after, also where `optimization.sharded` splits it over the processes meanwhile
    (an error in between leaves it without weights). So a process must be able to hold the weights (4 bytes per
    parameter) to load, score and save; gradients and optimizer state (12 more) and activations are what is spread.
    """
    if not task.examples:
        raise ArtifactError(f"{title}: there is nothing to train on (got 0 examples). Check what curation dropped.")
    _prepare_mode(model, optimization.gradient_checkpointing)
    loop = _Loop(model, task, optimization, compute, seed, identity)
    progress = checkpoint.restore(workdir, loop.module.model, loop.optimizer, identity)
    if not distributed.agree(progress.step, loop.device):
        raise ArtifactError(
            f"{workdir}: processes see different checkpoints (got step {progress.step} here). "
            "Set PREFLOW_HOME to a folder that all of them share, or delete the checkpoint."
        )
    began, resumed = time.perf_counter(), progress.rows
    bar = tqdm(total=loop.total, initial=progress.step, desc=title, unit="step", disable=not distributed.is_main())
    with _stop_flag() as stop, bar:
        for step, rows in enumerate(plan(task.lengths, optimization, seed)):
            if step < progress.step:
                continue
            line = loop.step(step, rows, progress, stop)
            bar.set_postfix_str(f"loss {line['loss']:.4f}", refresh=False)
            bar.update()
            last = progress.step == loop.total
            if last or progress.step % optimization.log_every == 0:
                progress.log.append(line)
            if not last:
                loop.keep(workdir, progress)
    loop.close()
    model.eval()
    seconds = time.perf_counter() - began
    done = progress
    return Trained(done.log, done.step, done.rows, done.tokens, done.dropped, seconds, done.rows - resumed)


def write_log(log: Sequence[Mapping[str, Any]], path: Path) -> None:
    """`training_log.jsonl`: one line per logged step."""
    path.write_text("".join(json.dumps(line) + "\n" for line in log), encoding="utf-8")


def adamw(model: nn.Module, optimization: Optimization) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; only matrices are decayed."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": optimization.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (optimization.betas[0], optimization.betas[1])
    return torch.optim.AdamW([g for g in groups if g["params"]], optimization.learning_rate, betas, fused=True)


class _Forward(nn.Module):
    """Whatever a caller computes with the model as one call of one module, which data-parallel wrappers must see."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[[nn.Module], Any]) -> Any:
        return compute(self.model)


class _Loop:
    """One optimizer step after the other."""

    def __init__(
        self, model: nn.Module, task: Task, optimization: Optimization, compute: Compute, seed: int, identity: str
    ) -> None:
        self.task, self.optimization, self.compute, self.seed = task, optimization, compute, seed
        self.device = device_of(compute)
        check_sharding(optimization, compute)
        distributed.start(self.device)
        distributed.check_same(identity, self.device)
        self.total = total_steps(len(task.examples), optimization)
        self.planned = sum(len(rows) for rows in plan(task.lengths, optimization, seed))
        self.per_epoch = -(-len(task.examples) // optimization.batch_size)
        self.weights = np.ones(len(task.examples)) if task.weights is None else np.asarray(task.weights, dtype=float)
        self.stopping = False
        self.plain = _Forward(model)
        self.module = sharding.shard(self.plain, self.device) if optimization.sharded else self.plain
        self.optimizer = adamw(self.module.model, optimization)  # after sharding: it holds the parameters themselves
        self.parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self.wrapped: nn.Module = self.module
        self.accelerator: Accelerator | None = None
        if distributed.world() > 1 and not optimization.sharded:
            self.accelerator = replicas(self.device)
            self.wrapped = self.accelerator.prepare_model(self.module, device_placement=False)

    def step(self, step: int, rows: list[int], progress: Progress, stop: threading.Event) -> dict[str, Any]:
        """One global batch: gradients, clip, update. Returns the log line; updates `progress`."""
        torch.manual_seed((self.seed * 1_000_003 + step) % 2**63)
        constants = self._constants(rows)
        values = self._gradients(rows, constants, stop)
        while not np.isfinite(values["loss"]).all():  # rare: the step is redone without the rows that broke it
            good = [row for row, loss in zip(rows, values["loss"], strict=True) if np.isfinite(loss)]
            self._drop(len(rows) - len(good), len(good), progress)
            rows = good
            values = self._gradients(rows, constants, stop)
        rate = learning_rate(step, self.total, self.optimization)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        clipped = torch.nn.utils.clip_grad_norm_(self.parameters, self.optimization.max_grad_norm or math.inf)
        norm = sharding.whole(clipped).item()
        if not math.isfinite(norm):
            raise ParamsError(
                f"training step {step + 1}: the gradient is not finite (got {norm}). "
                "Lower optimization.learning_rate, or set compute.precision: fp32."
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        progress.step = step + 1
        progress.rows += len(rows)
        progress.tokens += sum(self.task.lengths[row] for row in rows)
        return self._line(rows, values, rate, norm, progress)

    def keep(self, workdir: Path, progress: Progress) -> None:
        """Write a checkpoint where one is due; end the process if it was asked to stop."""
        every = self.optimization.checkpoint_every
        if self.stopping or (every and progress.step % every == 0):
            checkpoint.save(workdir, self.module.model, self.optimizer, progress)
            distributed.barrier()
        if self.stopping:
            raise SystemExit(143)

    def close(self) -> None:
        """The caller's model has its weights."""
        if self.optimization.sharded:
            self.optimizer.state.clear()  # room for the whole weights
            sharding.put_back(self.module, self.plain)

    def _line(
        self, rows: list[int], values: dict[str, np.ndarray], rate: float, norm: float, progress: Progress
    ) -> dict[str, Any]:
        line = {
            "step": progress.step,
            "epoch": progress.step / self.per_epoch,
            "lr": rate,
            "loss": float(np.mean(self.weights[rows] * values["loss"])),
            "grad_norm": norm,
            "num_tokens": progress.tokens,
        }
        if self.task.metrics is not None and (
            progress.step % self.optimization.log_every == 0 or progress.step == self.total
        ):
            line |= self.task.metrics(values)
        return line

    def _constants(self, rows: list[int]) -> Mapping[str, float]:
        if self.task.constants is None:
            return {}
        task_constants = self.task.constants
        with torch.no_grad():
            found: Mapping[str, float] = self.module(lambda model: task_constants(model, rows))
        return found

    def _drop(self, bad: int, good: int, progress: Progress) -> None:
        progress.dropped += bad
        if not good or progress.dropped > MAX_DROPPED * self.planned:
            raise ParamsError(
                f"training step {progress.step + 1}: the loss of too many examples is not finite (got "
                f"{progress.dropped} of {self.planned}, at most {MAX_DROPPED:.0%}). "
                "Lower optimization.learning_rate, or set compute.precision: fp32."
            )

    def _gradients(
        self, rows: list[int], constants: Mapping[str, float], stop: threading.Event
    ) -> dict[str, np.ndarray]:
        """Accumulate the gradient of one global batch; returns its quantities, one array over `rows` each."""
        self.optimizer.zero_grad(set_to_none=True)
        micros = self._share(rows)
        column = {row: i for i, row in enumerate(rows)}
        table: Tensor | None = None
        for i, (micro, real) in enumerate(micros):
            with self._gradient_sync(i == len(micros) - 1):
                names, block = self._backward(micro, constants, len(rows) if real else 0)
            if table is None:
                table = block.new_zeros(len(names), len(rows) + 1)
            if real:
                table[:, [column[row] for row in micro]] = block
        assert table is not None
        table[:, -1] = float(stop.is_set())  # every process learns of a stop at the same step
        values = distributed.total(table).double().cpu().numpy()
        self.stopping = bool(values[0, -1])
        return dict(zip(names, values[:, :-1], strict=True))

    def _gradient_sync(self, last: bool) -> AbstractContextManager[Any]:
        """Replicas exchange gradients in the last micro-batch only. Shards do in each: to wait is to keep the whole
        gradient, which is the memory that sharding is for."""
        if self.accelerator is None or last:
            return nullcontext()
        skip: AbstractContextManager[Any] = self.accelerator.no_sync(self.wrapped)
        return skip

    def _backward(self, micro: list[int], constants: Mapping[str, float], count: int) -> tuple[list[str], Tensor]:
        """Forward and backward of one micro-batch, its loss divided by `count` rows (0: contributes nothing)."""
        examples = [self.task.examples[row] for row in micro]
        with autocast(self.device, self.compute.precision, cache=not self.optimization.sharded):
            quantities = self.wrapped(lambda model: _copies(self.task.forward(model, examples)))
        one = next(iter(quantities.values()))
        for name, value in constants.items():
            quantities[name] = torch.full_like(one, value, requires_grad=False)
        losses = self.task.loss(quantities).float()
        scale = distributed.world() / count if count else 0.0  # data-parallel gradients are averaged over processes
        weights = torch.tensor(self.weights[micro] * scale, dtype=torch.float32, device=losses.device)
        torch.autograd.backward((weights * losses).sum())
        names = sorted(quantities)
        block = torch.stack([losses, *(quantities[name] for name in names)]).detach()
        return ["loss", *names], block

    def _share(self, rows: list[int]) -> list[tuple[list[int], bool]]:
        """This process's micro-batches and whether they count: every process makes equally many forward passes."""
        world = distributed.world()
        ordered = sorted(rows, key=lambda row: (-self.task.lengths[row], row))
        budget = self.optimization.micro_batch_tokens
        shares = [micro_batches(ordered[rank::world], self.task.lengths, budget) for rank in range(world)]
        own = [(micro, True) for micro in shares[distributed.rank()]]
        return own + [([ordered[-1]], False)] * (max(map(len, shares)) - len(own))


def replicas(device: torch.device) -> Accelerator:
    """For data parallelism, whatever the environment says. Raises ParamsError if it says FSDP or the like."""
    if (asked := os.environ.get("ACCELERATE_USE_FSDP", "")).lower() in ("1", "true", "yes", "on", "y", "t"):
        raise ParamsError(
            f"ACCELERATE_USE_FSDP: the environment does not choose how to train (got {asked}). "
            "Unset it, and set optimization.sharded: true to split a model over processes."
        )
    handler = DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)
    accelerator = Accelerator(cpu=device.type == "cpu", kwargs_handlers=[handler])
    kind = accelerator.distributed_type
    if kind not in (DistributedType.MULTI_CPU, DistributedType.MULTI_GPU):
        raise ParamsError(
            f"compute.processes: copies or shards (optimization.sharded) of a model are supported (got {kind}). "
            "Unset ACCELERATE_*."
        )
    return accelerator


def _copies(quantities: Quantities) -> Quantities:
    """Sharding hooks on to what comes out of the model, and must not be given views."""
    return {name: value.clone() for name, value in quantities.items()}


def _prepare_mode(model: nn.Module, gradient_checkpointing: bool) -> None:
    """No dropout: eval mode, or train mode with every rate at 0 where gradient checkpointing asks for train mode."""
    model.eval()
    if not gradient_checkpointing:
        return
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(getattr(module, "attention_dropout", None), float):
            module.attention_dropout = 0.0  # type: ignore[assignment]
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})  # type: ignore[operator]
    model.train()


@contextmanager
def _stop_flag() -> Iterator[threading.Event]:
    """Within the block SIGTERM sets the flag instead of ending the process, so that a step is never cut in two."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = signal.signal(signal.SIGTERM, lambda signum, frame: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)

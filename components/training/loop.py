"""The offline loop over the engine: supervised fine-tuning, preference models, offline objectives, pretraining.

A caller says how a list of examples becomes named quantities and how quantities become one loss per example; which
examples form a step is known before step 0. The loss of a step is sum(weight * loss) / N with N the rows of the global
batch that gave a finite loss, so splitting a batch into micro-batches or over processes changes nothing but rounding.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from components.errors import ArtifactError, ParamsError
from components.training import distributed
from components.training.batching import epoch_batches, micro_batches
from components.training.checkpoint import Progress
from components.training.engine import Engine, Part, Quantities, Stream
from components.training.params import Compute, Optimization
from components.training.saved_check import Probe, Said, check_steady
from components.training.schedule import learning_rate, total_steps

MAX_DROPPED = 0.01  # share of all examples of a run that may be dropped because their loss is not finite

State = dict[str, dict[str, float]]
Values = dict[str, np.ndarray]


@dataclass(frozen=True)
class Task:
    """What to learn from.

    `lengths`: tokens that each example occupies in a forward pass (for batching by length and the token budget).
    `forward(model, examples)` -> quantities of these examples, with gradient, on the model's device.
    `loss(quantities)` -> one loss per example. `weights`: one factor per example (default 1), not renormalised.
    `statistics(model, rows, state)` -> numbers that belong to a whole global batch (given as numbers of examples),
    without gradient, and the state after it; they join the quantities of each of its examples. It is asked once per
    step, by every process, and must call the model equally often in each. `state`: where it starts.
    `report(quantities)` -> what to keep of each example for the log, one value per example; if left out, the quantities
    that are. `metrics(values)` -> what to log, from the report of a whole global batch
    (float64 arrays, plus "loss"). `numbers`: {name: start} of scalars that are trained beside the model and join the
    quantities. `after(model, step)`: called when a step is done; `tensors`: what it changes in place and must survive.
    `probe(model)`: what the model says of a few rows, asked in its training form when the last step is done.
    """

    examples: Sequence[Any]
    lengths: Sequence[int]
    forward: Callable[[nn.Module, list[Any]], Quantities]
    loss: Callable[[Quantities], Tensor]
    weights: Sequence[float] | None = None
    statistics: Callable[[nn.Module, list[int], State], tuple[Mapping[str, float], State]] | None = None
    state: State = field(default_factory=dict)
    report: Callable[[Quantities], Quantities] | None = None
    metrics: Callable[[Values], dict[str, float]] | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    after: Callable[[nn.Module, int], None] | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    probe: Probe | None = None


@dataclass(frozen=True)
class Trained:
    """What a run did. `seconds` covers this process since the last resume only; the rest is reproducible.

    `state`: what the statistics remember at the end; `numbers`: the trained numbers at the end; `said`: what the
    probe of the task was told by the model in its training form (adapters, shares, mode) after the last step.
    """

    log: list[dict[str, Any]]
    steps: int
    rows: int
    tokens: int
    dropped: int
    state: State
    numbers: dict[str, float]
    said: Said
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
    plain = task.probe(model) if task.probe and optimization.gradient_checkpointing else []
    loop = _Loop(model, task, optimization, compute, seed, identity)
    if plain:  # train mode, the only one that could be another function
        check_steady(plain, loop.said())
    done = loop.restore(workdir)
    began, resumed = time.perf_counter(), done.rows
    bar = tqdm(total=loop.total, initial=done.step, desc=title, unit="step", disable=not distributed.is_main())
    with _stop_flag() as stop, bar:
        for step, rows in enumerate(plan(task.lengths, optimization, seed)):
            if step < done.step:
                continue
            line = loop.step(step, rows, done, stop)
            done.log.append(line)
            bar.set_postfix_str(f"loss {line['loss']:.4f}", refresh=False)
            bar.update()
            if done.step < loop.total:
                loop.keep(workdir, done)
    seconds = time.perf_counter() - began
    numbers, said = loop.part.numbers(), loop.said()
    loop.engine.close()
    counts = (done.step, done.rows, done.tokens, done.dropped)
    return Trained(done.log, *counts, done.state, numbers, said, seconds, done.rows - resumed)


def write_log(log: Sequence[Mapping[str, Any]], path: Path) -> None:
    """`training_log.jsonl`: one line per step."""
    path.write_text("".join(json.dumps(line) + "\n" for line in log), encoding="utf-8")


class _Loop:
    """One optimizer step after the other."""

    def __init__(
        self, model: nn.Module, task: Task, optimization: Optimization, compute: Compute, seed: int, identity: str
    ) -> None:
        self.task, self.optimization, self.seed = task, optimization, seed
        self.part = Part(model, optimization, compute, task.numbers)
        self.engine = Engine({"model": self.part}, compute, identity, task.tensors)
        self.total = total_steps(len(task.examples), optimization)
        self.planned = sum(len(rows) for rows in plan(task.lengths, optimization, seed))
        self.per_epoch = -(-len(task.examples) // optimization.batch_size)
        self.weights = np.ones(len(task.examples)) if task.weights is None else np.asarray(task.weights, dtype=float)
        self.stopping = False

    def restore(self, workdir: Path) -> Progress:
        """Where the run is: at a checkpoint, or at its start."""
        progress = self.engine.restore(workdir)
        if progress.step == 0:
            progress.state = self.task.state
        return progress

    def said(self) -> Said:
        """What the task's probe is told by the model in its training form."""
        return self.part.look(self.task.probe) if self.task.probe else []

    def step(self, step: int, rows: list[int], progress: Progress, stop: threading.Event) -> dict[str, Any]:
        """One global batch: gradients, clip, update. Returns the log line; updates `progress`."""
        torch.manual_seed((self.seed * 1_000_003 + step) % 2**63)
        constants, state = self._statistics(rows, progress.state)
        values = self._gradients(rows, constants, stop)
        while not np.isfinite(values["loss"]).all():  # rare: the step is redone without the rows that broke it
            good = [row for row, loss in zip(rows, values["loss"], strict=True) if np.isfinite(loss)]
            self._drop(len(rows) - len(good), len(good), progress)
            rows = good
            values = self._gradients(rows, constants, stop)
        rate = learning_rate(step, self.total, self.optimization)
        norm = self.part.step(rate, f"training step {step + 1}")
        progress.step, progress.state = step + 1, state
        progress.rows += len(rows)
        progress.tokens += sum(self.task.lengths[row] for row in rows)
        if self.task.after is not None:
            self.task.after(self.part.module.model, progress.step)
        return self._line(rows, values, rate, norm, progress)

    def keep(self, workdir: Path, progress: Progress) -> None:
        """Write a checkpoint where one is due; end the process if it was asked to stop."""
        every = self.optimization.checkpoint_every
        if self.stopping or (every and progress.step % every == 0):
            self.engine.save(workdir, progress)
        if self.stopping:
            raise SystemExit(143)

    def _line(self, rows: list[int], values: Values, rate: float, norm: float, progress: Progress) -> dict[str, Any]:
        return {
            "step": progress.step,
            "epoch": progress.step / self.per_epoch,
            "lr": rate,
            "loss": float(np.mean(self.weights[rows] * values["loss"])),
            "grad_norm": norm,
            "num_tokens": progress.tokens,
            **({f"trained/{name}": value for name, value in self.part.numbers().items()} if self.task.numbers else {}),
            **(self.task.metrics(values) if self.task.metrics is not None else {}),
        }

    def _statistics(self, rows: list[int], state: State) -> tuple[Mapping[str, float], State]:
        if self.task.statistics is None:
            return {}, state
        ask = self.task.statistics
        found: tuple[Mapping[str, float], State] = self.part.look(lambda model: ask(model, rows, state))
        return found

    def _drop(self, bad: int, good: int, progress: Progress) -> None:
        progress.dropped += bad
        if not good or progress.dropped > MAX_DROPPED * self.planned:
            raise ParamsError(
                f"training step {progress.step + 1}: the loss of too many examples is not finite (got "
                f"{progress.dropped} of {self.planned}, at most {MAX_DROPPED:.0%}). "
                "Lower optimization.learning_rate, or set compute.precision: fp32."
            )

    def _gradients(self, rows: list[int], constants: Mapping[str, float], stop: threading.Event) -> Values:
        """Accumulate the gradient of one global batch; returns its report, one array over `rows` each."""
        self.part.zero()
        micros = self._share(rows)
        column = {row: i for i, row in enumerate(rows)}
        table: Tensor | None = None
        for i, (micro, real) in enumerate(micros):
            with self.part.synchronized(i == len(micros) - 1):
                names, block = self._backward(micro, constants, len(rows) if real else 0)
            if table is None:
                table = block.new_zeros(len(names), len(rows) + 1)
            if real:
                table[:, [column[row] for row in micro]] = block
        assert table is not None
        table[:, -1] = float(stop.is_set())  # every process learns of a stop at the same step
        values = distributed.total(table).cpu().numpy()
        self.stopping = bool(values[0, -1])
        return dict(zip(names, values[:, :-1], strict=True))

    def _backward(self, micro: list[int], constants: Mapping[str, float], count: int) -> tuple[list[str], Tensor]:
        """Forward and backward of one micro-batch, its loss divided by `count` rows (0: contributes nothing)."""
        examples = [self.task.examples[row] for row in micro]
        quantities = self.part.forward(lambda model: self.task.forward(model, examples))
        for name, value in constants.items():
            quantities[name] = torch.full((len(micro),), value, device=self.part.device)
        losses = self.task.loss(quantities).float()
        self.part.backward([Stream(losses, count, torch.from_numpy(self.weights[micro]))])
        with torch.no_grad():
            report = self.task.report(quantities) if self.task.report else _one_each(quantities, losses)
            names = sorted(report)
            block = torch.stack([losses.double(), *(report[name].double() for name in names)]).detach()
        return ["loss", *names], block

    def _share(self, rows: list[int]) -> list[tuple[list[int], bool]]:
        """This process's micro-batches and whether they count: every process makes equally many forward passes."""
        world = distributed.world()
        ordered = sorted(rows, key=lambda row: (-self.task.lengths[row], row))
        budget = self.optimization.micro_batch_tokens
        shares = [micro_batches(ordered[rank::world], self.task.lengths, budget) for rank in range(world)]
        own = [(micro, True) for micro in shares[distributed.rank()]]
        return own + [([ordered[-1]], False)] * (max(map(len, shares)) - len(own))


def _one_each(quantities: Quantities, losses: Tensor) -> Quantities:
    """Those that are one value per example."""
    return {name: value for name, value in quantities.items() if value.shape == losses.shape}


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

"""The engine of training: models and their optimizers, accumulation, clipping, precision, state, resume, processes.

It knows nothing of examples or algorithms. A driver (the offline `loop`, or one that makes its examples as it goes)
says what to compute with a part's model and gives streams of losses; the engine turns them into a step.

    part = Part(model, optimization, compute)
    quantities = part.forward(lambda model: ...)              # with gradient, under the part's wrappers
    part.backward([Stream(losses, count)])                    # any number of micro-batches, any number of streams
    norm = part.step(rate)                                    # clip, update
    Engine({"policy": part}, compute, identity).save(workdir, progress)
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.utils import DistributedType
from torch import Tensor, nn

from components.errors import ArtifactError, ParamsError, first_line
from components.training import checkpoint, distributed, sharding
from components.training.checkpoint import Progress
from components.training.params import Compute, Optimization, check_sharding
from components.training.runtime import autocast, device_of

Quantities = dict[str, Tensor]

NOISE = re.compile(r"dropout|layerdrop|pdrop|^(input_)?jitter_noise$")
"""Names under which models of transformers keep how much of a thing they do at random in train mode."""


@dataclass(frozen=True)
class Stream:
    """Losses that share one denominator: what is minimised is sum(weights * losses) / count.

    `losses`: of any shape (one per sequence, or one per token with zeros in the padding). `count` belongs to the whole
    global batch, over all micro-batches and processes, so that a split changes nothing but rounding; a count of 0 makes
    a micro-batch contribute nothing. `weights`: float64, as `losses` or broadcast to it.
    """

    losses: Tensor
    count: float
    weights: Tensor | None = None


class _Root(nn.Module):
    """Whatever a driver computes with a model as one call of one module, which data-parallel wrappers must see.

    `numbers` are trained beside the model; they are [1], since sharding has no room for tensors without axes.
    """

    def __init__(self, model: nn.Module, numbers: Mapping[str, float]) -> None:
        super().__init__()
        self.model = model
        start = {name: nn.Parameter(torch.tensor([value], dtype=torch.float32)) for name, value in numbers.items()}
        self.numbers = nn.ParameterDict(start)

    def forward(self, compute: Callable[[nn.Module], Any]) -> Any:
        return compute(self.model)


class Part:
    """One trained model with its optimizer. `numbers`: {name: start} of scalars that are trained beside it."""

    def __init__(
        self, model: nn.Module, optimization: Optimization, compute: Compute, numbers: Mapping[str, float] | None = None
    ) -> None:
        self.optimization, self.compute = optimization, compute
        self.device = device_of(compute)
        check_sharding(optimization, compute)
        distributed.start(self.device)
        self.silenced = prepare_mode(model, optimization.gradient_checkpointing)
        self.plain = _Root(model, numbers or {})
        self.plain.numbers.to(self.device)
        self.module = sharding.shard(self.plain, self.device) if optimization.sharded else self.plain
        self.optimizer = adamw(self.module, optimization)  # after sharding: it holds the parameters themselves
        self.parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        self.wrapped: nn.Module = self.module
        self.accelerator: Accelerator | None = None
        if distributed.world() > 1 and not optimization.sharded:
            self.accelerator = replicas(self.device)
            self.wrapped = self.accelerator.prepare_model(self.module, device_placement=False)

    def zero(self) -> None:
        """Forget all gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def forward(self, compute: Callable[[nn.Module], Quantities]) -> Quantities:
        """What `compute` makes with the model, with gradient, and the trained numbers by name (without axes)."""
        with autocast(self.device, self.compute.precision, cache=not self.optimization.sharded):
            found: Quantities = self.wrapped(lambda model: self._outputs(compute(model)))
        return found

    @torch.no_grad()
    def look(self, compute: Callable[[nn.Module], Any]) -> Any:
        """What `compute` makes with the model, without gradient. Every process must call the model equally often."""
        return self.module(compute)

    def backward(self, streams: Iterable[Stream]) -> None:
        """Add the gradient of these losses to what is there."""
        torch.autograd.backward([self._scaled(stream) for stream in streams])

    def synchronized(self, last: bool) -> AbstractContextManager[Any]:
        """Around forward and backward of a micro-batch: replicas exchange gradients in the last one only.

        Shards do in each: to wait is to keep the whole gradient, which is the memory that sharding is for.
        """
        if self.accelerator is None or last:
            return nullcontext()
        skip: AbstractContextManager[Any] = self.accelerator.no_sync(self.wrapped)
        return skip

    def step(self, rate: float, where: str) -> float:
        """Clip and update; the norm of the gradient before clipping. Raises ParamsError if it is not finite."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        clipped = torch.nn.utils.clip_grad_norm_(self.parameters, self.optimization.max_grad_norm or math.inf)
        norm = float(sharding.whole(clipped).item())
        if not math.isfinite(norm):
            raise ParamsError(
                f"{where}: the gradient is not finite (got {norm}). "
                "Lower optimization.learning_rate, or set compute.precision: fp32."
            )
        self.optimizer.step()
        self.zero()
        return norm

    def numbers(self) -> dict[str, float]:
        """The trained numbers as they are."""
        return {name: float(sharding.whole(value.detach()).item()) for name, value in self.module.numbers.items()}

    def close(self) -> None:
        """The caller's model has its weights, and is in eval mode."""
        if self.optimization.sharded:
            self.optimizer.state.clear()  # room for the whole weights
            sharding.put_back(self.module, self.plain)
        self.plain.model.eval()
        for config, name, value in self.silenced:
            setattr(config, name, value)

    def _outputs(self, found: Quantities) -> Quantities:
        made = {**found, **{name: value.view(()) for name, value in self.module.numbers.items()}}
        if not self.optimization.sharded:
            return made
        return {name: value.clone() for name, value in made.items()}  # sharding hooks on to it: no views

    def _scaled(self, stream: Stream) -> Tensor:
        scale = distributed.world() / stream.count if stream.count else 0.0  # gradients are averaged over processes
        losses = stream.losses.float()
        if stream.weights is None:
            return losses.sum() * scale
        weights = (stream.weights * scale).to(losses.device, torch.float32)
        return (weights * losses).sum()


class Engine:
    """Named parts that are trained, saved and resumed together. `tensors`: what else must survive, changed in place."""

    def __init__(
        self, parts: Mapping[str, Part], compute: Compute, identity: str, tensors: Mapping[str, Tensor] | None = None
    ) -> None:
        """Raises WiringError if the processes run different things."""
        self.parts, self.identity, self.tensors = parts, identity, dict(tensors or {})
        self.device = device_of(compute)
        distributed.check_same(identity, self.device)

    def save(self, workdir: Path, progress: Progress) -> None:
        """Write a checkpoint; every process calls it."""
        checkpoint.save(workdir, self._saved(), progress, self.tensors)
        distributed.barrier()

    def restore(self, workdir: Path) -> Progress:
        """Go on from the newest checkpoint, if there is one of this identity.

        Raises ArtifactError for a checkpoint of another run, or if the processes see different ones.
        """
        progress = checkpoint.restore(workdir, self._saved(), self.identity, self.tensors)
        if not distributed.agree(progress.step, self.device):
            raise ArtifactError(
                f"{workdir}: processes see different checkpoints (got step {progress.step} here). "
                "Set PREFLOW_HOME to a folder that all of them share, or delete the checkpoint."
            )
        return progress

    def close(self) -> None:
        """The caller's models have their weights."""
        for part in self.parts.values():
            part.close()

    def _saved(self) -> dict[str, tuple[nn.Module, torch.optim.Optimizer]]:
        return {name: (part.module, part.optimizer) for name, part in self.parts.items()}


def adamw(model: nn.Module, optimization: Optimization) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; only matrices are decayed."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": optimization.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (optimization.betas[0], optimization.betas[1])
    return torch.optim.AdamW([g for g in groups if g["params"]], optimization.learning_rate, betas, fused=True)


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


Silenced = list[tuple[Any, str, float]]
"""Objects whose rate of a kind of noise was set to 0, the name of the rate, and what it was."""


def prepare_mode(model: nn.Module, gradient_checkpointing: bool) -> Silenced:
    """No dropout: eval mode, or train mode with every rate at 0 where gradient checkpointing asks for train mode.

    Returns the rates of configs, which some models read as they run: they must be put back before a model is saved.
    """
    model.eval()
    if not gradient_checkpointing:
        return []
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        _silence(module)
    configs = {id(c): c for module in model.modules() if (c := getattr(module, "config", None)) is not None}
    silenced = [change for config in configs.values() for change in _silence(config)]
    try:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})  # type: ignore[operator]
    except ValueError as error:
        raise ParamsError(
            f"optimization.gradient_checkpointing: this model cannot do it (got {first_line(error)}). Set it to false."
        ) from error
    model.train()
    return silenced


def _silence(owner: Any) -> Silenced:
    """Set its rates of dropout and the like to 0; what they were."""
    found = [
        (owner, name, value)
        for name, value in vars(owner).items()
        if isinstance(value, float) and value > 0 and NOISE.search(name)
    ]
    for _, name, _ in found:
        setattr(owner, name, 0.0)
    return found

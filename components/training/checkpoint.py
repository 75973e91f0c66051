"""Resumable checkpoints: trainable weights and optimizer state as safetensors, the rest as JSON, renamed when complete.

The schedule, the batches and the random numbers are functions of the step, so these files are the whole state: models
and optimizers by part, tensors that move beside them, and what statistics remember as numbers. They hold whole tensors
also where training is sharded, so any number of processes can resume from them.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from components import artifacts
from components.errors import ArtifactError
from components.training import distributed, sharding


@dataclass
class Progress:
    """Where a run is: steps done, examples and tokens seen, examples dropped as not finite, and the log so far.

    `state`: what statistics and controllers remember, as plain numbers.
    """

    identity: str
    step: int = 0
    rows: int = 0
    tokens: int = 0
    dropped: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)
    state: dict[str, dict[str, float]] = field(default_factory=dict)


Parts = Mapping[str, tuple[nn.Module, torch.optim.Optimizer]]
"""Trained models with their optimizers, by name."""


def save(folder: Path, parts: Parts, progress: Progress, tensors: Mapping[str, Tensor]) -> None:
    """Write `folder/step-N` atomically, then delete older ones. Every process calls it, the first one writes."""
    temporary = folder / f"step-{progress.step:08d}.tmp-{uuid.uuid4().hex[:8]}"
    if distributed.is_main():
        temporary.mkdir(parents=True)
    weights: dict[str, Tensor] = {}
    state: dict[str, Tensor] = {}
    for part, (module, optimizer) in parts.items():
        for name, parameter in _trainable(module).items():
            weights[f"{part}.{name}"] = parameter.detach()
            state |= {f"{key}|{part}.{name}": value for key, value in optimizer.state.get(parameter, {}).items()}
    _write(weights, temporary / "model.safetensors")
    _write(state, temporary / "optimizer.safetensors")
    if tensors:
        _write(tensors, temporary / "tensors.safetensors")
    if not distributed.is_main():
        return
    artifacts.write_text(temporary / "progress.json", json.dumps(asdict(progress)))
    final = folder / f"step-{progress.step:08d}"
    artifacts.remove(final)
    os.rename(temporary, final)
    for other in folder.glob("step-*"):
        if other != final:
            artifacts.remove(other)


def restore(folder: Path, parts: Parts, identity: str, tensors: Mapping[str, Tensor]) -> Progress:
    """Load the newest checkpoint of `folder` into models, optimizers and tensors; a fresh Progress if there is none.

    Raises ArtifactError if it belongs to another run or does not fit the models.
    """
    complete = sorted(path for path in folder.glob("step-*") if ".tmp-" not in path.name)
    if not complete:
        return Progress(identity)
    newest = complete[-1]
    progress = Progress(**json.loads((newest / "progress.json").read_text(encoding="utf-8")))
    if progress.identity != identity:
        raise ArtifactError(
            f"{newest}: the checkpoint belongs to another run (got identity {progress.identity}, want {identity}). "
            "Delete it, or give this run its own workdir."
        )
    named = {
        f"{part}.{name}": (parameter, optimizer)
        for part, (module, optimizer) in parts.items()
        for name, parameter in _trainable(module).items()
    }
    _fill({name: parameter for name, (parameter, _) in named.items()}, newest / "model.safetensors")
    if tensors:
        _fill(tensors, newest / "tensors.safetensors")
    with safe_open(newest / "optimizer.safetensors", "pt") as state:
        for full in state.keys():  # noqa: SIM118 (a file, not a dictionary)
            key, name = full.split("|", 1)
            parameter, optimizer = named[name]
            optimizer.state[parameter][key] = sharding.like(state.get_tensor(full), parameter)
    return progress


@torch.no_grad()
def _fill(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Set every tensor to what the file holds under its name."""
    with safe_open(path, "pt") as saved:
        if set(saved.keys()) != set(tensors):
            raise ArtifactError(f"{path.parent}: the checkpoint is of another model (got other names). Delete it.")
        for name, tensor in tensors.items():
            tensor.copy_(sharding.like(saved.get_tensor(name), tensor))


def _write(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write them on the first process, put together one by one."""
    kept = {}
    for name, value in tensors.items():
        full = sharding.whole(value)
        if distributed.is_main():
            kept[name] = full.cpu().contiguous()
    if distributed.is_main():
        save_file(kept, path)


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Trainable parameters by name; a tied one once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}

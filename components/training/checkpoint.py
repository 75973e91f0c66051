"""Resumable checkpoints: trainable weights and optimizer state as safetensors, the rest as JSON, renamed when complete.

The schedule, the batches and the random numbers are functions of the step, so these files are the whole state. They
hold whole tensors also where training is sharded, so any number of processes can resume from them.
"""

from __future__ import annotations

import json
import os
import uuid
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
    """Where a run is: steps done, examples and tokens seen, examples dropped as not finite, and the log so far."""

    identity: str
    step: int = 0
    rows: int = 0
    tokens: int = 0
    dropped: int = 0
    log: list[dict[str, Any]] = field(default_factory=list)


def save(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress) -> None:
    """Write `folder/step-N` atomically, then delete older ones. Every process calls it, the first one writes."""
    named = _trainable(model)
    temporary = folder / f"step-{progress.step:08d}.tmp-{uuid.uuid4().hex[:8]}"
    if distributed.is_main():
        temporary.mkdir(parents=True)
    _write({name: parameter.detach() for name, parameter in named.items()}, temporary / "model.safetensors")
    state = {
        f"{key}|{name}": value
        for name, parameter in named.items()
        for key, value in optimizer.state.get(parameter, {}).items()
    }
    _write(state, temporary / "optimizer.safetensors")
    if not distributed.is_main():
        return
    artifacts.write_text(temporary / "progress.json", json.dumps(asdict(progress)))
    final = folder / f"step-{progress.step:08d}"
    artifacts.remove(final)
    os.rename(temporary, final)
    for other in folder.glob("step-*"):
        if other != final:
            artifacts.remove(other)


def restore(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, identity: str) -> Progress:
    """Load the newest checkpoint of `folder` into model and optimizer; a fresh Progress if there is none.

    Raises ArtifactError if it belongs to another run or does not fit the model.
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
    named = _trainable(model)
    with safe_open(newest / "model.safetensors", "pt") as weights, torch.no_grad():
        if set(weights.keys()) != set(named):
            raise ArtifactError(f"{newest}: the checkpoint is of another model (got other weight names). Delete it.")
        for name, parameter in named.items():
            parameter.copy_(sharding.like(weights.get_tensor(name), parameter))
    with safe_open(newest / "optimizer.safetensors", "pt") as state:
        for full in state.keys():  # noqa: SIM118 (a file, not a dictionary)
            key, name = full.split("|", 1)
            optimizer.state[named[name]][key] = sharding.like(state.get_tensor(full), named[name])
    return progress


def _write(tensors: dict[str, Tensor], path: Path) -> None:
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

"""Resumable checkpoints: trainable weights and optimizer state as safetensors, the rest as JSON, renamed when complete.

The schedule, the batches and the random numbers are functions of the step, so these files are the whole state.
"""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from components import artifacts
from components.errors import ArtifactError


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
    """Write `folder/step-N` atomically, then delete older ones."""
    temporary = folder / f"step-{progress.step:08d}.tmp-{uuid.uuid4().hex[:8]}"
    temporary.mkdir(parents=True)
    named = _trainable(model)
    save_file(
        {name: parameter.detach().contiguous() for name, parameter in named.items()}, temporary / "model.safetensors"
    )
    state: dict[str, Tensor] = {}
    for name, parameter in named.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            state[f"{key}|{name}"] = value.contiguous()
    save_file(state, temporary / "optimizer.safetensors")
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
    weights = load_file(newest / "model.safetensors")
    if set(weights) != set(named):
        raise ArtifactError(f"{newest}: the checkpoint is of another model (its weights have other names). Delete it.")
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(weights[name])
    for full, value in load_file(newest / "optimizer.safetensors").items():
        key, name = full.split("|", 1)
        optimizer.state[named[name]][key] = value.to(named[name].device)
    return progress


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Trainable parameters by name; a tied one once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}

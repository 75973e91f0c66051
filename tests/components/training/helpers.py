"""Small tasks for the loop: pairs of random token ids under a DPO-like loss, written out here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from components.sequences import Sequence
from components.training import distributed
from components.training.batching import collate
from components.training.logprobs import completion_logps
from components.training.loop import Task, Trained, train
from components.training.params import Compute, Optimization

Pair = tuple[list[int], list[int], list[int]]


def pairs(count: int, seed: int = 0, shortest: int = 2, longest: int = 12, vocabulary: int = 320) -> list[Pair]:
    """(prompt, chosen, rejected) token ids of mixed lengths."""
    rng = np.random.default_rng(seed)

    def ids() -> list[int]:
        return rng.integers(6, vocabulary, rng.integers(shortest, longest)).tolist()

    return [(ids(), ids(), ids()) for _ in range(count)]


def margins(model: nn.Module, examples: list[Pair]) -> dict[str, Tensor]:
    rows = [Sequence(p, w) for p, w, _ in examples] + [Sequence(p, r) for p, _, r in examples]
    logps = completion_logps(model, collate(rows, next(model.parameters()).device))
    chosen, rejected = logps.sums.split(len(examples))
    return {"chosen_logps": chosen, "rejected_logps": rejected}


def logistic(quantities: dict[str, Tensor]) -> Tensor:
    return -F.logsigmoid(0.1 * (quantities["chosen_logps"] - quantities["rejected_logps"]))


def pair_task(examples: list[Pair], **changes: Any) -> Task:
    lengths = [2 * (len(p) + max(len(w), len(r))) for p, w, r in examples]
    return Task(**{"examples": examples, "lengths": lengths, "forward": margins, "loss": logistic, **changes})


def fit(
    model: nn.Module, task: Task, workdir: Path, identity: str = "test", precision: Any = "fp32", **settings: Any
) -> Trained:
    defaults: dict[str, Any] = {"learning_rate": 1e-3, "warmup": 0.0, "schedule": "constant", "batch_size": 8}
    return train(
        model,
        task,
        optimization=Optimization(**{**defaults, **settings}),
        compute=Compute("cpu", threads=1, precision=precision, processes=distributed.world()),
        seed=0,
        identity=identity,
        workdir=workdir,
    )


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def torchrun(function: str, folder: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    """Two processes that call `package.module.function(folder, *arguments)`."""
    folder.mkdir(exist_ok=True)
    module, name = function.rsplit(".", 1)
    call = f"{name}({', '.join(map(repr, (str(folder), *arguments)))})"
    (folder / "main.py").write_text(f"from {module} import {name}\n\n{call}\n")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    return subprocess.run(
        [*command, str(folder / "main.py")], env=environment, timeout=240, capture_output=True, text=True
    )

"""The few things data-parallel processes must agree on. With one process all of it does nothing."""

from __future__ import annotations

import hashlib
import os

import torch
import torch.distributed as dist
from torch import Tensor

from components.errors import WiringError


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


def world() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    return rank() == 0


def start(device: torch.device) -> None:
    """Join the process group (gloo on CPU, NCCL on GPU); `torchrun` has set the environment."""
    if world() > 1 and not dist.is_initialized():
        dist.init_process_group("gloo" if device.type == "cpu" else "nccl")


def total(values: Tensor) -> Tensor:
    """Sum over all processes, in place."""
    if world() > 1:
        dist.all_reduce(values)
    return values


def everywhere(fact: bool, device: torch.device) -> bool:
    """Whether it holds on every process: what all of them may rely on when they decide together."""
    return bool(total(torch.tensor(float(fact), device=device)) == world())


def agree(number: int, device: torch.device) -> bool:
    """Whether every process has this number."""
    values = torch.zeros(world(), dtype=torch.long, device=device)
    values[rank()] = number
    return len(set(total(values).tolist())) == 1


def check_same(identity: str, device: torch.device) -> None:
    """Raises WiringError unless every process runs the same thing: before they wait for each other."""
    if not agree(int(hashlib.sha256(identity.encode()).hexdigest()[:15], 16), device):
        raise WiringError(
            f"process {rank()} of {world()}: the processes run different things (got identity {identity} here). "
            "Give all of them the same code, parameters and inputs."
        )


def barrier() -> None:
    """Wait for every process."""
    if world() > 1:
        dist.barrier()

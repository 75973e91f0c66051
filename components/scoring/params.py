"""Parameters of scoring. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from components.contract.ranges import Count
from components.errors import ParamsError
from components.training.params import Compute


@dataclass(frozen=True)
class Params:
    split: Literal["train", "validation", "test"] = "test"
    """whose comparisons are scored, if there is a dataset"""
    micro_batch_tokens: Count = 8192
    """most tokens (padding included) in one forward pass; smaller saves memory, and may change the last bits"""
    compute: Compute = field(default_factory=Compute)
    """device, threads and precision"""

    def check(self) -> None:
        if self.compute.processes != 1:
            raise ParamsError(
                f"compute.processes: scoring runs in one process (got {self.compute.processes}). Set it to 1."
            )

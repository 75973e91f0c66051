"""Parameters of reward_modeling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from components.contract import Choice
from components.errors import ParamsError
from components.objectives.table import OBJECTIVES
from components.training.params import Compute, Lora, Optimization, check_sharding


@dataclass(frozen=True)
class Params:
    objective: Annotated[Choice, OBJECTIVES.only(family=("reward",))] = field(
        default_factory=lambda: Choice("bradley_terry")
    )
    """loss on pairs of rewards: bradley_terry (ties are left out), bradley_terry_soft (learns the probability of each
    comparison, ties included) or bradley_terry_margin (asks for more where the preference is stronger)"""
    optimization: Optimization = field(default_factory=Optimization)
    """AdamW, schedule and batch sizes; an example is a comparison"""
    lora: Lora = field(default_factory=Lora)
    """low-rank adapters on the backbone; the head is always trained in full"""
    compute: Compute = field(default_factory=Compute)
    """device, threads, precision and processes"""
    max_length: int = 1024
    """most tokens of prompt and completion; a longer one is an error, since curation leaves none"""
    seed: int = 0
    """of the new head and the order of the examples"""

    def check(self) -> None:
        check_sharding(self.optimization, self.compute)
        if self.max_length < 2:
            raise ParamsError(f"max_length: must be at least 2 (got {self.max_length}). Try 1024.")

"""Parameters of policy_optimization. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from components.contract.params import Choice
from components.errors import ParamsError
from components.objectives.table import OBJECTIVES
from components.training.params import Compute, Lora, Optimization, check_sharding
from components.training.tables import REFERENCES


@dataclass(frozen=True)
class Params:
    objective: Annotated[Choice, OBJECTIVES.only(family=("policy",))] = field(
        default_factory=lambda: Choice("dpo", {"beta": 0.1})
    )
    """Objective of the catalogue with its knobs; it decides which feedback is read and whether a reference is run."""
    reference: Annotated[Choice, REFERENCES] = field(default_factory=lambda: Choice("fixed"))
    """Where the reference's numbers come from; not used by an objective without a reference."""
    max_length: int = 1024
    """Most tokens of prompt plus completion; longer rows are an error, since curation gates them (nothing is cut)."""
    shared_prompts: Literal["auto", "always", "never"] = "auto"
    """Compute the prompt of an example once; auto does it where it saves enough. Equal to 1e-5 either way."""
    seed: int = 0
    """Decides batches and adapter initialisation."""
    optimization: Optimization = field(default_factory=lambda: Optimization(learning_rate=1e-6))
    """Optimizer, schedule and batch sizes."""
    lora: Lora = field(default_factory=Lora)
    """Low-rank adapters instead of full fine-tuning."""
    compute: Compute = field(default_factory=Compute)
    """Device, threads, precision, processes."""

    def check(self) -> None:
        check_sharding(self.optimization, self.compute)
        if self.max_length < 2:
            raise ParamsError(f"max_length: must be at least 2 (got {self.max_length}). Use the one of curation.")

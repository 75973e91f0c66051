"""Parameters of reward_modeling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from components.contract import Choice
from components.errors import ParamsError
from components.objectives.quantities import parse
from components.objectives.table import OBJECTIVES
from components.preference_models.table import PREFERENCE_MODELS, READOUTS, gives
from components.training.params import Compute, Lora, Optimization, check_sharding


@dataclass(frozen=True)
class Params:
    kind: Annotated[Choice, PREFERENCE_MODELS.only(reads=READOUTS)] = field(default_factory=lambda: Choice("scalar"))
    """kind of preference model: scalar (one reward per text), scalar_mean (averaged over its tokens) or gpm (knows
    only pairs, and can hold preferences that go round in circles)"""
    objective: Annotated[Choice, OBJECTIVES.only(family=("reward",))] = field(
        default_factory=lambda: Choice("bradley_terry")
    )
    """loss on pairs: bradley_terry (ties are left out), bradley_terry_soft (learns the probability of each comparison,
    ties included), bradley_terry_margin (asks for more where the preference is stronger), or general_preference and
    general_preference_soft, which fit any kind"""
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
        row, known = OBJECTIVES[self.objective.name], gives(self.kind.name)
        for need in (parse(name, row.facts["view"], row.facts.get("trains")) for name in row.needs):
            if need.source == "batch" or (need.models and need.measure not in known):
                raise ParamsError(
                    f"objective.name: {row.name} needs '{need.name}', which a {self.kind.name} model does not give "
                    f"(got {', '.join(known)}). Choose general_preference, or another kind."
                )

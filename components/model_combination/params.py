"""Parameters of model_combination. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from components.contract import Choice
from components.preference_models.table import PREFERENCE_MODELS


@dataclass(frozen=True)
class Params:
    kind: Annotated[Choice, PREFERENCE_MODELS.only(reads=("members",))] = field(
        default_factory=lambda: Choice("mean_of_members")
    )
    """how the scores of the members become one: mean_of_members, worst_of_members or mean_less_variance"""

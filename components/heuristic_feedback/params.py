"""Parameters of `heuristic_feedback`. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from components.contract.params import Choice
from components.contract.ranges import Count
from components.heuristics.table import RULES


@dataclass(frozen=True)
class Params:
    """Which rule decides."""

    rule: Annotated[Choice, RULES] = field(default_factory=lambda: Choice("repetition_and_length"))
    """The rule (docs/rules.md)."""
    pairs_per_prompt: Count = 1
    """Most pairs per prompt, for a rule that compares pairs; each sample is used about equally often."""
    license: str = "unknown"
    """Licence of prompts and completions, as every record will say."""

"""Parameters of `llm_feedback`. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from components.errors import ParamsError
from components.judges.params import JudgeParams


@dataclass(frozen=True)
class Params:
    """Which pairs are judged, by whom, and what becomes of undecided ones."""

    judge: JudgeParams = field(default_factory=JudgeParams)
    """Who judges."""
    pairs_per_prompt: int = 1
    """Most pairs per prompt; each sample is used about equally often."""
    delta: float = 0.0
    """A pair counts as undecided if |p_a - 0.5| < delta, p_a being the mean over both orders."""
    inconsistent: Literal["tie", "drop"] = "tie"
    """What becomes of a pair on which the two orders disagree, or that is undecided: a tie, or no record."""
    license: str = "unknown"
    """Licence of prompts and completions, as every record will say."""

    def check(self) -> None:
        if self.pairs_per_prompt < 1:
            raise ParamsError(f"pairs_per_prompt: must be at least 1 (got {self.pairs_per_prompt}). Use 1 or more.")
        if not 0 <= self.delta <= 0.5:
            raise ParamsError(f"delta: must be in 0..0.5 (got {self.delta}). It is a distance from 0.5.")

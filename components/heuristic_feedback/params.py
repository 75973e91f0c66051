"""Parameters of `heuristic_feedback`. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from components.errors import ParamsError, nearest
from components.heuristic_feedback.rules import RULES


@dataclass(frozen=True)
class Params:
    """Which rule decides, and how clear a difference must be."""

    rule: str = "repetition_and_length"
    """Name in the table of rules (components/heuristic_feedback/rules.py)."""
    threshold: float = 1.0
    """A factor decides if the two completions differ in it by more than threshold * its standard deviation over all
    samples."""
    pairs_per_prompt: int = 1
    """Most pairs per prompt; each sample is used about equally often."""
    license: str = "unknown"
    """Licence of prompts and completions, as every record will say."""

    def check(self) -> None:
        if self.rule not in RULES:
            raise ParamsError(f"rule: no such rule (got '{self.rule}').{nearest(self.rule, RULES)}")
        if self.threshold < 0:
            raise ParamsError(f"threshold: must not be negative (got {self.threshold}). Use 0 or more.")
        if self.pairs_per_prompt < 1:
            raise ParamsError(f"pairs_per_prompt: must be at least 1 (got {self.pairs_per_prompt}). Use 1 or more.")

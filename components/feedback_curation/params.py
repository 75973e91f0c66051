"""Parameters of feedback_curation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from components.contract.params import Choice
from components.errors import ParamsError
from components.votes.table import AGGREGATIONS


@dataclass(frozen=True)
class Aggregation:
    """How several votes on one comparison become one record."""

    method: Annotated[Choice, AGGREGATIONS] = field(default_factory=lambda: Choice("majority"))
    """the rule that decides, with its knobs (docs/aggregations.md)"""
    groups: Literal["kind", "together"] = "kind"
    """kind: humans, judges and heuristics give one record each; together: all their votes are counted as one group"""
    weights: dict[str, float] = field(default_factory=dict)
    """training weight by annotator kind or by source; both apply; 1 for what is not named"""

    def check(self) -> None:
        for name, weight in self.weights.items():
            if weight <= 0:
                raise ParamsError(f"weights.{name}: must be above 0 (got {weight}). Leave the feedback out instead.")


@dataclass(frozen=True)
class Tokens:
    """What a row must be once it is tokens. Nothing is ever cut."""

    max_length: int = 1024
    """longest prompt and completion together, in tokens (the model's own limit applies if it is lower)"""
    truncation: Literal["error", "drop"] = "drop"
    """what to do with a longer row: fail, or quarantine it"""
    max_new_tokens: int = 64
    """most tokens of an answer in later steps: a test prompt must leave room for it within the model's positions"""

    def check(self) -> None:
        if self.max_new_tokens < 1:
            raise ParamsError(
                f"max_new_tokens: must be at least 1 (got {self.max_new_tokens}). Use that of the answers' sampler."
            )
        if self.max_length < 2:
            raise ParamsError(
                f"max_length: must be at least 2 (got {self.max_length}). A prompt and an answer need it."
            )


@dataclass(frozen=True)
class Params:
    title: str = "Preference data"
    """title of the data card"""
    validation: float = 0.1
    """share of the prompts that validate"""
    test: float = 0.1
    """share of the prompts that are kept for evaluation"""
    aggregation: Aggregation = field(default_factory=Aggregation)
    """how votes become records"""
    tokens: Tokens = field(default_factory=Tokens)
    """the token gate"""
    max_bad_share: float = 0.05
    """fail if a larger share of the records is quarantined, by the rules or by the token gate"""
    span_labels: tuple[str, ...] = ()
    """labels that spans may have; empty: any, and the card lists those it found"""
    label_flip: float = 0.0
    """share of the labels to invert, in every split; for experiments only"""
    seed: int = 0
    """which labels are inverted"""

    def check(self) -> None:
        for name in ("validation", "test", "max_bad_share", "label_flip"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ParamsError(f"{name}: must be in 0..1 (got {getattr(self, name)}). Give a share.")
        if self.validation + self.test >= 1.0:
            got = f"validation {self.validation} + test {self.test}"
            raise ParamsError(f"validation: nothing would be left to train on (got {got}). Lower them.")

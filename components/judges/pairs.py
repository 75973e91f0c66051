"""Two completions of one prompt, and the verdict on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from components.judges.reply import Reply

Outcome = Literal["a", "b", "tie"]
_SWAPPED: dict[Outcome | None, Outcome | None] = {"a": "b", "b": "a", "tie": "tie", None: None}
_PROBABILITY: dict[Outcome | None, float | None] = {"a": 1.0, "b": 0.0, "tie": 0.5, None: None}


@dataclass(frozen=True)
class PairItem:
    """Two completions of one prompt; `a` is shown first.

    `key` names the item for its owner; it does not reach the judge, so it never changes a verdict.
    """

    key: str
    messages: Sequence[dict[str, str]]
    a: str
    b: str

    def swapped(self) -> PairItem:
        return PairItem(self.key, self.messages, self.b, self.a)


@dataclass(frozen=True)
class Verdict(Reply[Outcome]):
    """A reply that says which of two completions is better."""

    @property
    def outcome(self) -> Outcome | None:
        return self.value

    @property
    def p_a(self) -> float | None:
        """Probability that `a` is preferred: 1, 0.5 (tie), 0, or None without a verdict."""
        return _PROBABILITY[self.value]

    def swapped(self) -> Verdict:
        """The same verdict with the names of the two completions exchanged."""
        return Verdict(**{**vars(self), "value": _SWAPPED[self.value]})

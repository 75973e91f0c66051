"""What a judge is asked and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

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
class Verdict:
    """The answer to one question. `outcome` None: no verdict could be read, `reason` says why; it is never guessed."""

    outcome: Outcome | None
    text: str = ""
    n_retries: int = 0
    reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    served_model: str = ""

    @property
    def parse_ok(self) -> bool:
        return self.outcome is not None

    @property
    def p_a(self) -> float | None:
        """Probability that `a` is preferred: 1, 0.5 (tie), 0, or None without a verdict."""
        return _PROBABILITY[self.outcome]

    def swapped(self) -> Verdict:
        """The same verdict with the names of the two completions exchanged."""
        return Verdict(**{**self.__dict__, "outcome": _SWAPPED[self.outcome]})


class Judge(Protocol):
    """Anything that compares pairs. Must be a function of the shown texts alone, so that a rerun gives the same."""

    def judge(self, items: Sequence[PairItem]) -> list[Verdict]:
        """One verdict per item, in order, about the order shown (`a` first). Raises JudgeError, ParamsError."""
        ...

    def annotator(self, item: PairItem) -> dict[str, Any]:
        """The `annotator` of a feedback record about this item: kind, id, revision, instructions_rev, temperature."""
        ...

    def execution(self) -> dict[str, int]:
        """What is true of this run only (requests sent, answers found in the cache), for `outputs.execution`."""
        ...

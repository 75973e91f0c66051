"""Pairwise judgments as votes on comparisons: the same two texts on the same prompt, whichever came first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from components.records import Record, canonical_json, prompt_key, votes_of

SWAPPED = {"a": "b", "b": "a"}
COMPARING = ("a", "b", "tie")
BESIDE = frozenset({"both_bad", "incomparable"})
"""Outcomes that say something, but not which side."""


class Ballot(Protocol):
    """What an aggregation reads of a vote. `p_a`: the annotator's own probability that a is better, if it gave one."""

    @property
    def annotator(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def p_a(self) -> float | None: ...


class Decision(NamedTuple):
    """The verdict of a poll. `p_a`: P(a is better), above 0.5 where a wins; None where nobody compared."""

    outcome: str
    p_a: float | None


@dataclass(frozen=True)
class Vote:
    """One annotator's verdict on one comparison. Sides are named by content: `a` is the text that sorts first.

    `p_a` is the annotator's own probability, if it gave one; `shown_first` and `longer` are sides, None if not known
    or equal. `shown`: every verdict behind the vote whose order is known, as (outcome, side shown first); two of them
    where a judge was asked in both orders.
    """

    key: tuple[str, ...]
    prompt: str
    outcome: str
    p_a: float | None
    shown_first: str | None
    shown: tuple[tuple[str, str], ...]
    longer: str | None
    strength: tuple[float, float] | None
    cids: tuple[str, str]
    record: Record

    @property
    def kind(self) -> str:
        kind: str = self.record["annotator"]["kind"]
        return kind

    @property
    def annotator(self) -> str:
        annotator: str = self.record["annotator"]["id"]
        return annotator


def votes(records: Iterable[Record]) -> Iterator[Vote]:
    """Every pairwise judgment as a vote, a combined one instead of those it sums up."""
    for record in records:
        for judgment in votes_of(record):
            yield _vote(record, judgment)


def _content(record: Record, cid: str) -> tuple[str, int]:
    parts = next(c["parts"] for c in record["candidates"] if c["cid"] == cid)
    return canonical_json(parts), sum(len(part.get("text", "")) for part in parts)


def _side(side: str, turned: bool) -> str:
    return SWAPPED.get(side, side) if turned else side


def _shown(record: Record, judgment: dict[str, Any], turned: bool) -> tuple[tuple[str, str], ...]:
    """(outcome, side shown first) of a judgment, or of those that it sums up, in the sides of the vote."""
    found = []
    for part in [record["judgments"][i] for i in judgment.get("combined_of", ())] or [judgment]:
        flipped = turned != (part["a"] != judgment["a"])
        if order := part.get("shown_order"):
            found.append((_side(part["outcome"], flipped), _side("a" if order[0] == part["a"] else "b", flipped)))
    return tuple(found)


def _vote(record: Record, judgment: dict[str, Any]) -> Vote:
    (text_a, length_a), (text_b, length_b) = _content(record, judgment["a"]), _content(record, judgment["b"])
    turned = text_b < text_a
    shown = _shown(record, judgment, turned)
    longer = None if length_a == length_b else "a" if length_a > length_b else "b"
    p_a = judgment.get("p_a")
    prompt = prompt_key(record)
    context = canonical_json(record["context"])
    strength = (judgment["strength"], judgment["strength_scale"][1]) if "strength" in judgment else None
    return Vote(
        key=(prompt, context, judgment.get("criterion", ""), min(text_a, text_b), max(text_a, text_b)),
        prompt=prompt,
        outcome=_side(judgment["outcome"], turned),
        p_a=None if p_a is None else 1 - p_a if turned else p_a,
        shown_first=shown[0][1] if shown and "combined_of" not in judgment else None,
        shown=shown,
        longer=SWAPPED[longer] if turned and longer else longer,
        strength=strength,
        cids=(judgment["b"], judgment["a"]) if turned else (judgment["a"], judgment["b"]),
        record=record,
    )

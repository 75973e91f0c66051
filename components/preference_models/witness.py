"""A witness is whatever prefers: a preference model of any kind, a judge, the known truth. Torch-free.

Who asks a witness never asks what it is: every witness compares, some can also score or explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from components.simulation.world import TERMS, gold_terms, gold_utility


@dataclass(frozen=True, slots=True)
class Text:
    """One completion of a prompt, {role, content} messages."""

    messages: Sequence[dict[str, str]]
    completion: str


class Pair(Protocol):
    """Two completions of one prompt: a TextPair, a judge's item, or anything else that has these three."""

    @property
    def messages(self) -> Sequence[dict[str, str]]: ...
    @property
    def a(self) -> str: ...
    @property
    def b(self) -> str: ...


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two completions of one prompt."""

    messages: Sequence[dict[str, str]]
    a: str
    b: str


class Witness(Protocol):
    """What every witness answers; one answer per item, in order, and the same answer when asked again."""

    def compare(self, pairs: Sequence[Pair]) -> list[float]:
        """P(a is preferred to b) in [0, 1]. Exchanging a and b gives exactly 1 - p; equal texts give 0.5."""
        ...

    def score(self, texts: Sequence[Text]) -> list[float] | None:
        """A number for each text, higher is better; None from a witness that knows only pairs."""
        ...

    def explain(self, pairs: Sequence[Pair]) -> list[str] | None:
        """Why, in words, for each pair; None from a witness that cannot say."""
        ...


class KnownTruth:
    """The true utility of the simulated world as a witness, certain of every pair: 1, 0, or 0.5 where they are equal.

    Raises RecordError for a prompt that is not of that world.
    """

    def compare(self, pairs: Sequence[Pair]) -> list[float]:
        scores = [(_utility(pair, pair.a), _utility(pair, pair.b)) for pair in pairs]
        return [1.0 if a > b else 0.0 if a < b else 0.5 for a, b in scores]

    def score(self, texts: Sequence[Text]) -> list[float]:
        return [_utility(text, text.completion) for text in texts]

    def explain(self, pairs: Sequence[Pair]) -> list[str]:
        """The terms of the utility in which the two differ, as differences a - b."""
        return [_differences(pair) or "no difference" for pair in pairs]


def _asked(item: Text | Pair) -> str:
    return next(message["content"] for message in reversed(item.messages) if message["role"] == "user")


def _utility(item: Text | Pair, completion: str) -> float:
    return gold_utility(_asked(item), completion)


def _differences(pair: Pair) -> str:
    a, b = (gold_terms(_asked(pair), text) for text in (pair.a, pair.b))
    return ", ".join(f"{name} {TERMS[name] * (a[name] - b[name]):+.2f}" for name in TERMS if a[name] != b[name])

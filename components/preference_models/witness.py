"""A witness is whatever prefers: a preference model of any kind, a judge, the known truth. Torch-free.

Who asks a witness never asks what it is: every witness compares, some can also score or explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


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

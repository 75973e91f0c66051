"""What a row of the catalogue says: the function, where it comes from, and claims that the tests measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import Tensor

Family = Literal["pair", "unpaired", "demonstration", "reward"]
FAMILIES: tuple[Family, ...] = get_args(Family)
"""What an example is: a comparison, a labelled completion, a demonstration, a comparison scored by a reward model."""


@dataclass(frozen=True)
class Range:
    """The values a knob may take; None means no bound on that side."""

    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def __contains__(self, value: float) -> bool:
        return (
            (self.above is None or value > self.above)
            and (self.at_least is None or value >= self.at_least)
            and (self.below is None or value < self.below)
            and (self.at_most is None or value <= self.at_most)
        )

    def __str__(self) -> str:
        bounds = ((">", self.above), (">=", self.at_least), ("<", self.below), ("<=", self.at_most))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


POSITIVE = Range(above=0)
NONNEGATIVE = Range(at_least=0)


@dataclass(frozen=True)
class Direction:
    """At the default knobs the loss rises (or falls) in each of `arguments`, everywhere that `given` holds."""

    rises: bool
    arguments: tuple[str, ...]
    given: Mapping[str, float]


@dataclass(frozen=True)
class Reduction:
    """With these `knobs` and `given` quantities the loss is that of the objective `to` at its default knobs.

    `rename` says which of our quantities stands for which of theirs, where the names differ: {theirs: ours}.
    """

    to: str
    knobs: Mapping[str, float] = field(default_factory=dict)
    given: Mapping[str, float] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)


Claim = Direction | Reduction


def increases(*arguments: str, **given: float) -> Direction:
    """The loss rises when one of these arguments does, wherever the quantities have the values `given`."""
    return Direction(True, arguments, given)


def decreases(*arguments: str, **given: float) -> Direction:
    """The loss falls when one of these arguments rises, wherever the quantities have the values `given`."""
    return Direction(False, arguments, given)


@dataclass(frozen=True)
class Row:
    """One objective. Its needs and knobs are not repeated here: they are the signature of `function`.

    `method` is the id in the method specification, `equation` the loss in plain text, `ranges` what each knob may be,
    `departures` what differs from the paper or from well-known code, in words.
    """

    function: Callable[..., Tensor]
    family: Family
    method: str
    paper: str
    equation: str
    ranges: Mapping[str, Range] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    departures: str = ""

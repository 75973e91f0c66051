"""A table for tests: functions, one function that is two rows, and a class."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from components.contract.params import EXECUTION
from components.contract.ranges import Count, NonNegative, Positive, Range
from components.contract.table import Table
from components.errors import ParamsError

TOYS = Table("toys", "toy", "tests.components.contract.rows", "What tests play with.", facts=("family",))


@TOYS.row(family="near", method="X-01", source="Doe 2020, eq. 1", claims=(len,))
def near(a: float, b: float, *, beta: Positive = 0.1, mode: Literal["sum", "mean"] = "sum", on: bool = False) -> float:
    """The nearest toy.

    More words about it.
    """
    return beta * (a + b) + on


@TOYS.row(name="far", family="far", method=("X-02", "X-03"))
@TOYS.row(name="farther", family="far", fixed={"reach": 9.0}, status="experimental")
def away(
    a: float, *, reach: NonNegative = 1.0, steps: Count = 3, drift: Annotated[float, Range(below=1)] = 0.5
) -> float:
    """A toy out of reach."""
    return a * reach * steps - drift


@TOYS.row(name="boxed", family="far", revision=2)
@dataclass(frozen=True)
class Boxed:
    """A toy in a box."""

    size: Positive = 1.0
    """How large."""
    colour: Literal["red", "blue"] = "red"
    """Which colour."""
    retries: int = field(default=5, metadata=EXECUTION)
    """How often it is wound up."""

    def check(self) -> None:
        if self.colour == "blue" and self.size > 9:
            raise ParamsError(f"size: no blue box is so large (got {self.size}). Use a red one.")

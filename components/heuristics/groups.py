"""What rules are given and what they give back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import pstdev
from typing import Any

from components.records.samples import Sample

Factors = tuple[float, ...]


@dataclass(frozen=True)
class Found:
    """What a rule says about some samples of one prompt: one record.

    `samples`: by the names that the judgments use. `instructions`: what the rule went by, beyond its name and knobs.
    """

    samples: Mapping[str, Sample]
    judgments: list[dict[str, Any]]
    instructions: str = ""


class Pool:
    """All samples, for rules that ask how clear a difference is beside the others."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self._known: dict[Callable[[Sample], Factors], tuple[dict[int, Factors], Factors]] = {}

    def measure(self, factors: Callable[[Sample], Factors]) -> tuple[dict[int, Factors], Factors]:
        """The factors of every sample by its line, and their population standard deviations. Measured once."""
        if factors not in self._known:
            of = {sample.line: factors(sample) for sample in self.samples}
            self._known[factors] = of, tuple(pstdev(values) for values in zip(*of.values()))
        return self._known[factors]

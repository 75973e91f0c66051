"""Rules that compare two completions: one function and one row each.

A rule names factors, the most important first, each the better the higher. The first factor in which two completions
differ by more than its threshold decides; if none does, the rule is silent (SRC-28; Bukharin et al. 2023, "Deep
Reinforcement Learning from Hierarchical Preference Design", HERON). Thresholds are m * the population standard
deviation of the factor over all samples; a difference equal to the threshold does not decide. With m > 0 the relation
need not be transitive: cycles are counted, not assumed away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import pstdev
from typing import Literal

from components.records.samples import Sample

Factors = tuple[float, ...]


@dataclass(frozen=True)
class Rule:
    """`revision` goes into every record: bump it when the factors change."""

    factors: Callable[[Sample], Factors]
    revision: str
    summary: str


def repetition_and_length(sample: Sample) -> Factors:
    """(ended by itself, minus the share of repeated token trigrams): degenerate text is the worse one.

    Trigrams of token ids need no word boundaries, so the rule reads any language. Fewer than three tokens repeat none.
    """
    ids = sample.token_ids
    trigrams = list(zip(ids, ids[1:], ids[2:]))
    repeated = 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0
    return float(sample.finish == "eos"), -repeated


RULES: dict[str, Rule] = {
    "repetition_and_length": Rule(
        repetition_and_length, "1", "prefer a completion that ended by itself, then the one with fewer repetitions"
    ),
}


def thresholds(pool: Sequence[Factors], m: float) -> Factors:
    """m * population standard deviation of every factor over the pool."""
    return tuple(m * pstdev(values) for values in zip(*pool))


def decide(a: Factors, b: Factors, limits: Factors) -> Literal["a", "b"] | None:
    """Which side the first clear difference favours; None if there is no clear difference."""
    for of_a, of_b, limit in zip(a, b, limits, strict=True):
        if abs(of_a - of_b) > limit:
            return "a" if of_a > of_b else "b"
    return None

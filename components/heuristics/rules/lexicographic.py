"""Factors in order of importance: the first clear difference decides.

A rule names factors, the most important first, each the better the higher. The first factor in which two completions
differ by more than its threshold decides; if none does, the rule is silent. Thresholds are m * the population standard
deviation of the factor over all samples; a difference equal to the threshold does not decide. With m > 0 the relation
need not be transitive: cycles are counted, not assumed away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from components.contract.ranges import NonNegative
from components.heuristics.groups import Factors, Found, Pool
from components.heuristics.table import RULES
from components.records.samples import Sample, SamplePair


def decide(a: Factors, b: Factors, limits: Factors) -> Literal["a", "b"] | None:
    """Which side the first clear difference favours; None if there is no clear difference."""
    for of_a, of_b, limit in zip(a, b, limits, strict=True):
        if abs(of_a - of_b) > limit:
            return "a" if of_a > of_b else "b"
    return None


def lexicographic(
    pairs: Sequence[SamplePair], pool: Pool, factors: Callable[[Sample], Factors], threshold: float
) -> list[Found]:
    """A pairwise judgment for every pair that the factors decide. It has no probability: a rule is never unsure."""
    of, spread = pool.measure(factors)
    limits = tuple(threshold * deviation for deviation in spread)
    found = []
    for pair in pairs:
        if outcome := decide(of[pair.a.line], of[pair.b.line], limits):
            judgment = {"type": "pairwise", "a": "a", "b": "b", "outcome": outcome}
            found.append(Found({"a": pair.a, "b": pair.b}, [judgment], f"thresholds={list(limits)}"))
    return found


def ending_and_repetition(sample: Sample) -> Factors:
    """(ended by itself, minus the share of repeated token trigrams): degenerate text is the worse one.

    Trigrams of token ids need no word boundaries, so the rule reads any language. Fewer than three tokens repeat none.
    """
    ids = sample.token_ids
    trigrams = list(zip(ids, ids[1:], ids[2:]))
    repeated = 1 - len(set(trigrams)) / len(trigrams) if trigrams else 0.0
    return float(sample.finish == "eos"), -repeated


@RULES.row(
    method="SRC-28",
    source="Bukharin et al. 2023, Deep Reinforcement Learning from Hierarchical Preference Design (HERON)",
)
def repetition_and_length(pairs: Sequence[SamplePair], pool: Pool, *, threshold: NonNegative = 1.0) -> list[Found]:
    """Prefer a completion that ended by itself, then the one with fewer repetitions.

    A factor decides if two completions differ in it by more than threshold * its standard deviation over all samples.
    """
    return lexicographic(pairs, pool, ending_and_repetition, threshold)

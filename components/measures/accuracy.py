"""How well a witness ranks held-out comparisons (EVAL-16, EVAL-22), beside what it must beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.measures.evidence import Decided, Ranked
from components.measures.groups import worst_group
from components.measures.table import MEASURES
from components.records import Comparison
from components.statistics import (
    Bootstrap,
    Estimate,
    accuracy_strict_and_tie_half,
    bag_of_words_baseline,
    length_baseline,
)


@MEASURES.row(
    method="EVAL-16",
    source="Lambert et al. 2024, RewardBench",
    metric="{witness}.accuracy",
    label="{witness}, equal scores count as wrong",
    format="percent",
    section="scorers",
    headline=(10, "{witness} accuracy (held out)"),
    bar="{witness}",
    card="{witness} accuracy",
    unit="of {n} comparisons",
)
def accuracy(ranked: Ranked, comparisons: Decided, bootstrap: Bootstrap) -> Estimate:
    """Share of the decided comparisons whose chosen side the witness prefers; equal scores count as wrong."""
    zeros = np.zeros(len(ranked.margins))
    return accuracy_strict_and_tie_half(ranked.margins, zeros, comparisons.keys, bootstrap)["strict"]


@MEASURES.row(
    method="EVAL-16",
    metric="{witness}.accuracy_tie_half",
    label="{witness}, equal scores count half",
    format="percent",
    section="scorers",
)
def accuracy_tie_half(ranked: Ranked, comparisons: Decided, bootstrap: Bootstrap) -> Estimate:
    """The same with equal scores counted as one half."""
    zeros = np.zeros(len(ranked.margins))
    return accuracy_strict_and_tie_half(ranked.margins, zeros, comparisons.keys, bootstrap)["tie_half"]


@MEASURES.row(
    method="EVAL-22",
    metric="{witness}.accuracy.group_min",
    label="{witness}, worst source (simultaneous interval)",
    format="percent",
    section="scorers",
)
def accuracy_group_min(ranked: Ranked, comparisons: Decided, bootstrap: Bootstrap) -> Estimate:
    """The strict accuracy on the source with the smallest lower bound, bounds simultaneous over the sources."""
    sources = [item.source for item in comparisons.items]
    return worst_group(ranked.strict, sources, bootstrap, comparisons.keys).estimate


@MEASURES.row(
    method="EVAL-27",
    metric="baseline.length.accuracy",
    label="baseline: the longer completion",
    format="percent",
    section="scorers",
    headline=(20, "  baseline: longer wins"),
    bar="longer is better",
    baseline="picking the longer answer",
    beside=("accuracy", "longer is better: {value}"),
)
def length_accuracy(comparisons: Decided, bootstrap: Bootstrap) -> Estimate:
    """Accuracy of "the longer completion wins" on the same comparisons; equal lengths count one half."""
    return length_baseline(comparisons.items, bootstrap)


@MEASURES.row(
    metric="baseline.bag_of_words.accuracy",
    label="baseline: bag of words fitted on the train split",
    format="percent",
    section="scorers",
    headline=(30, "  baseline: bag of words"),
    bar="bag of words",
    baseline="a bag of words",
)
def bag_of_words_accuracy(comparisons: Decided, train: Sequence[Comparison], bootstrap: Bootstrap) -> Estimate:
    """Accuracy of a Bradley-Terry model that is linear in word counts, fitted on the train split."""
    return bag_of_words_baseline(train, comparisons.items, bootstrap)

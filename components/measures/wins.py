"""Win rates and what explains them (EVAL-05, EVAL-06, EVAL-22, EVAL-27), one value per prompt.

A value is 1 if the candidate wins, 0 if it loses, 0.5 for a tie (or the judge's probability), None without a verdict.
None is no tie: it is left out of the mean and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.measures.evidence import Answers, NotMeasured, TestSet, Values
from components.measures.groups import worst_group
from components.measures.table import MEASURES
from components.statistics import Bootstrap, Estimate, point, weigh

Sides = tuple[Answers, Answers]
SideScores = tuple[Sequence[float], Sequence[float]]


@dataclass(frozen=True)
class Tally:
    """Raw counts of a comparison."""

    wins: int
    losses: int
    ties: int
    missing: int


def tally(values: Values) -> Tally:
    known = [value for value in values if value is not None]
    wins, losses = sum(value > 0.5 for value in known), sum(value < 0.5 for value in known)
    return Tally(wins, losses, len(known) - wins - losses, len(values) - len(known))


@MEASURES.row(
    method="EVAL-06",
    metric="win_rate.{witness}.vs_{opponent}",
    label="win rate",
    format="percent",
    section="wins",
    headline=(50, "win rate over {opponent} ({witness})"),
)
def win_rate(wins: Values, bootstrap: Bootstrap) -> Estimate:
    """(W + T/2) / (W + T + L) over the prompts with a verdict."""
    known = [value for value in wins if value is not None]
    if not known:
        raise NotMeasured("no pair got a verdict")
    return bootstrap.rate(known)


def length_gaps(sides: Sides) -> list[int]:
    """Characters of the candidate's answer minus the opponent's, per prompt."""
    return [len(a) - len(b) for a, b in zip(sides[0].texts, sides[1].texts, strict=True)]


@MEASURES.row(
    method="EVAL-27",
    metric="win_rate_length_balanced.{witness}.vs_{opponent}",
    label="length-balanced",
    format="percent",
    section="wins",
    note="Prompts on which the candidate is longer and prompts on which it is shorter count the same; a scorer that "
    "only likes length gives 50%.",
)
def win_rate_length_balanced(wins: Values, sides: Sides, bootstrap: Bootstrap) -> Estimate:
    """Mean of the win rate where the candidate is longer and the win rate where it is shorter.

    Prompts of equal length count half in each. A scorer that only prefers length gives 0.5, one that ignores length
    gives about the plain win rate. Not measured if the candidate is always longer, or always shorter.
    """
    rows = [(value, gap) for value, gap in zip(wins, length_gaps(sides), strict=True) if value is not None]
    if not rows:
        raise NotMeasured("no pair got a verdict")
    value = np.array([row[0] for row in rows])
    longer = np.array([1.0 if row[1] > 0 else 0.5 if row[1] == 0 else 0.0 for row in rows])
    if not longer.any() or not (1 - longer).any():
        raise NotMeasured(
            "the candidate is longer (or shorter) on every prompt: length and quality cannot be told apart"
        )

    def statistic(weights: np.ndarray) -> np.ndarray:
        above = weigh(weights, value * longer) / weigh(weights, longer)
        below = weigh(weights, value * (1 - longer)) / weigh(weights, 1 - longer)
        return np.asarray((above + below) / 2)

    return bootstrap.statistic(statistic, len(rows))


@MEASURES.row(
    method="EVAL-22",
    metric="win_rate.{witness}.vs_{opponent}.group_min",
    label="win rate, worst source (simultaneous interval)",
    format="percent",
    section="",
)
def win_rate_group_min(wins: Values, test: TestSet, bootstrap: Bootstrap) -> Estimate:
    """The win rate on the source with the smallest lower bound, bounds simultaneous over the sources."""
    return worst_group(wins, [prompt.source for prompt in test.prompts], bootstrap).estimate


@MEASURES.row(
    method="EVAL-05",
    metric="gain.{witness}.vs_{opponent}",
    label="gain (sd)",
    format="number",
    section="wins",
    note="Mean score difference in standard deviations of the opponent's scores.",
)
def gain(side_scores: SideScores, bootstrap: Bootstrap) -> Estimate:
    """Mean score difference in units of the opponent's standard deviation."""
    a, b = (np.asarray(scores, float) for scores in side_scores)
    if len(a) < 2 or np.ptp(b) == 0:
        raise NotMeasured("the opponent's scores are all equal")

    def statistic(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1)
        mean = weigh(weights, b) / total
        spread = np.sqrt(np.maximum(weigh(weights, b * b) / total - mean**2, 0.0))
        return np.asarray(weigh(weights, a - b) / total / spread)

    return bootstrap.statistic(statistic, len(a))


@MEASURES.row(
    method="EVAL-27",
    source="Kitagawa 1955, decomposition of a difference of means",
    metric="gain_within_length.{witness}.vs_{opponent}",
    label="not by length",
    format="percent",
    section="wins",
    note="The share of that gain that remains among answers of similar length.",
)
def gain_within_length(side_scores: SideScores, sides: Sides) -> Estimate:
    """The share of the mean score gain that length does not explain.

    Both systems' answers are put into ten quantile bins of the pooled lengths (characters). With p the share of a
    system's answers in a bin and m its mean score there:

        total = sum_b (p_c m_c - p_o m_o) = sum_b (p_c + p_o)/2 (m_c - m_o)  +  sum_b (m_c + m_o)/2 (p_c - p_o)
                                            within bins                          from moving between bins

    Not measured if the gain is 0 or a bin holds answers of one system only: then the data cannot tell length from
    quality.
    """
    own, other = ([len(text) for text in side.texts] for side in sides)
    share = within_length_share(*side_scores, own, other)
    if share is None:
        raise NotMeasured("no gain, or lengths that do not overlap")
    return point(share, len(own))


def within_length_share(
    candidate: Sequence[float],
    opponent: Sequence[float],
    candidate_lengths: Sequence[float],
    opponent_lengths: Sequence[float],
    bins: int = 10,
) -> float | None:
    """See `gain_within_length`; None where it is not defined."""
    scores = np.asarray([*candidate, *opponent], float)
    lengths = np.asarray([*candidate_lengths, *opponent_lengths], float)
    own = np.arange(len(scores)) < len(candidate)
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, bins + 1)[1:-1]))
    index = np.searchsorted(edges, lengths, side="left")
    total = scores[own].mean() - scores[~own].mean()
    if total == 0:
        return None
    within = 0.0
    for b in np.unique(index):
        mine, theirs = own & (index == b), ~own & (index == b)
        if not mine.any() or not theirs.any():
            return None
        share = (mine.sum() / own.sum() + theirs.sum() / (~own).sum()) / 2
        within += share * (scores[mine].mean() - scores[theirs].mean())
    return float(within / total)

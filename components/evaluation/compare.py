"""Win rates and what explains them (EVAL-05, EVAL-06, EVAL-22, EVAL-27). Pure: one value per prompt in, estimates out.

A value is 1 if the candidate wins, 0 if it loses, 0.5 for a tie (or the judge's probability), None without a verdict.
None is no tie: it is left out of the mean and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from components.statistics.intervals import Bootstrap, Estimate

MIN_GROUP = 30
"""A group with fewer prompts is shown, but cannot decide a worst-group value (EVAL-22)."""

Values = Sequence[float | None]


@dataclass(frozen=True)
class Tally:
    """Raw counts of a comparison."""

    wins: int
    losses: int
    ties: int
    missing: int


def from_scores(candidate: Sequence[float], opponent: Sequence[float]) -> list[float]:
    """Win, loss or tie per prompt from scores; only exactly equal scores tie."""
    return [1.0 if a > b else 0.0 if a < b else 0.5 for a, b in zip(candidate, opponent, strict=True)]


def tally(values: Values) -> Tally:
    known = [value for value in values if value is not None]
    wins, losses = sum(value > 0.5 for value in known), sum(value < 0.5 for value in known)
    return Tally(wins, losses, len(known) - wins - losses, len(values) - len(known))


def win_rate(values: Values, bootstrap: Bootstrap) -> Estimate | None:
    """(W + T/2) / (W + T + L) over the prompts with a verdict; None if there is none."""
    known = [value for value in values if value is not None]
    return bootstrap.rate(known) if known else None


def length_balanced_win_rate(values: Values, length_gaps: Sequence[float], bootstrap: Bootstrap) -> Estimate | None:
    """Mean of the win rate where the candidate is longer and the win rate where it is shorter (EVAL-27).

    Prompts of equal length count half in each. A scorer that only prefers length gives 0.5, one that ignores length
    gives about the plain win rate. `length_gaps` is candidate minus opponent. None if the candidate is always longer,
    or always shorter.
    """
    rows = [(value, gap) for value, gap in zip(values, length_gaps, strict=True) if value is not None]
    if not rows:
        return None
    value = np.array([row[0] for row in rows])
    longer = np.array([1.0 if row[1] > 0 else 0.5 if row[1] == 0 else 0.0 for row in rows])
    if not longer.any() or not (1 - longer).any():
        return None

    def statistic(weights: np.ndarray) -> np.ndarray:
        above = (weights @ (value * longer)) / (weights @ longer)
        below = (weights @ (value * (1 - longer))) / (weights @ (1 - longer))
        return np.asarray((above + below) / 2)

    return bootstrap.statistic(statistic, len(rows))


def gain(candidate: Sequence[float], opponent: Sequence[float], bootstrap: Bootstrap) -> Estimate | None:
    """Mean score difference in units of the opponent's standard deviation (EVAL-05); None if that is 0."""
    a, b = np.asarray(candidate, float), np.asarray(opponent, float)
    if len(a) < 2 or np.ptp(b) == 0:
        return None

    def statistic(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1)
        mean = (weights @ b) / total
        spread = np.sqrt(np.maximum((weights @ (b * b)) / total - mean**2, 0.0))
        return np.asarray((weights @ (a - b)) / total / spread)

    return bootstrap.statistic(statistic, len(a))


def within_length_share(
    candidate: Sequence[float],
    opponent: Sequence[float],
    candidate_lengths: Sequence[float],
    opponent_lengths: Sequence[float],
    bins: int = 10,
) -> float | None:
    """The share of the mean score gain that length does not explain (EVAL-27).

    Both systems' answers are put into `bins` quantile bins of the pooled lengths. With p the share of a system's
    answers in a bin and m its mean score there (Kitagawa's decomposition of a difference of means):

        total = sum_b (p_c m_c - p_o m_o) = sum_b (p_c + p_o)/2 (m_c - m_o)  +  sum_b (m_c + m_o)/2 (p_c - p_o)
                                            within bins                          from moving between bins

    None if the gain is 0 or a bin holds answers of one system only: then the data cannot tell length from quality.
    """
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


@dataclass(frozen=True)
class Slice:
    """One group of one metric."""

    group: str
    estimate: Estimate
    eligible: bool


def slices(
    values: Values, groups: Sequence[str], bootstrap: Bootstrap, clusters: Sequence[str] | None = None
) -> list[Slice]:
    """The rate in every group, groups in the order of their names; groups without a verdict are left to `tally`."""
    rows = []
    for group in sorted(set(groups)):
        chosen = [i for i, name in enumerate(groups) if name == group and values[i] is not None]
        if not chosen:
            continue
        known = [float(values[i]) for i in chosen]  # type: ignore[arg-type]
        names = None if clusters is None else [clusters[i] for i in chosen]
        size = len(chosen) if names is None else len(set(names))
        rows.append(Slice(group, bootstrap.rate(known, names), size >= MIN_GROUP))
    return rows


def worst_group(
    values: Values, groups: Sequence[str], bootstrap: Bootstrap, clusters: Sequence[str] | None = None
) -> Slice | None:
    """The eligible group with the smallest lower bound, bounds simultaneous over the groups (Bonferroni; EVAL-22).

    None with fewer than two eligible groups: then the overall value says it all.
    """
    eligible = sum(row.eligible for row in slices(values, groups, replace(bootstrap, resamples=1), clusters))
    if eligible < 2:
        return None
    strict = replace(bootstrap, confidence=1 - (1 - bootstrap.confidence) / eligible)
    rows = [row for row in slices(values, groups, strict, clusters) if row.eligible]
    return min(rows, key=lambda row: (row.estimate["ci_low"], row.group))

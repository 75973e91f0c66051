"""How far annotators agree, and what sways them: the place of an answer, and its length."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.contract.ranges import Whole
from components.statistics import ROUNDING, Estimate, estimate, point, undefined, weigh, wilson
from components.votes.ballots import Ballot, Vote
from components.votes.table import AGREEMENTS

RESAMPLES = 2000
_CHUNK = 1 << 22

Unit = Sequence[Hashable]  # the values that one item was given


@AGREEMENTS.row(method="AGR-01", source="", label="percent agreement")
def percent_agreement(units: Iterable[Unit]) -> Estimate:
    """Mean over items with two votes or more of the share of vote pairs that agree. CI over items."""
    shares = []
    for unit in units:
        n = len(unit)
        if n >= 2:
            shares.append(sum(c * (c - 1) for c in Counter(unit).values()) / (n * (n - 1)))
    return estimate(shares)


def _disagreement(units: Iterable[Unit]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Per item with two votes or more: (observed disagreement [U], value counts [U, K]), in an order of their own."""
    counts = [Counter(unit) for unit in units if len(unit) >= 2]
    values = sorted({value for count in counts for value in count}, key=str)
    table = np.array([[count[value] for value in values] for count in counts], dtype=np.float64)
    if not len(table):
        return np.zeros(0), np.zeros((0, 0))
    table = table[np.lexsort(table.T[::-1])]
    size = table.sum(1)
    return (size**2 - (table**2).sum(1)) / (size - 1), table


@AGREEMENTS.row(method="AGR-03", source="Krippendorff 2004, Content Analysis, ch. 11", label="Krippendorff α (nominal)")
def krippendorff_alpha(units: Iterable[Unit], *, seed: Whole = 0) -> Estimate:
    """Nominal: 1 - Do/De, with items resampled for the interval; None where everybody gave one value.

    Do = sum of off-diagonal coincidences / n, De = off-diagonal
    n_c n_k / (n (n - 1)) over all n pairable values. `n` counts items with two votes or more.
    """
    observed, table = _disagreement(units)
    if not len(table):
        return undefined()
    value = _alpha(observed.sum(keepdims=True), table.sum(0, keepdims=True))[0]
    if np.isnan(value):
        return undefined(len(table))
    rng = np.random.Generator(np.random.PCG64(seed))
    share = np.full(len(table), 1 / len(table))
    step = max(1, _CHUNK // len(table))
    drawn = []
    for start in range(0, RESAMPLES, step):
        weights = rng.multinomial(len(table), share, size=min(step, RESAMPLES - start)).astype(np.float64)
        drawn.append(_alpha(weigh(weights, observed), weigh(weights, table)))
    alphas = np.concatenate(drawn)
    alphas = alphas[~np.isnan(alphas)]
    if len(table) < 2 or np.ptp(alphas) <= ROUNDING:  # one item, or all alike: no interval, not one of no width
        return point(value, len(table))
    low, high = np.quantile(alphas, [0.025, 0.975])
    return point(value, len(table), float(low), float(high))


def _alpha(observed: NDArray[np.float64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """alpha [R] from summed disagreement [R] and value totals [R, K]; NaN where only one value occurs."""
    n = totals.sum(1)
    expected = (n**2 - (totals**2).sum(1)) / (n - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - observed / expected, np.nan)


Poll = Sequence[Ballot]  # one vote per annotator


def _points(polls: Iterable[Poll]) -> list[tuple[int, str, float]]:
    """(comparison, annotator, point) of every vote that others also cast: 1 if it is what most of the others said."""
    points = []
    for item, poll in enumerate(polls):
        for i, ballot in enumerate(poll):
            others = Counter(other.outcome for j, other in enumerate(poll) if j != i).most_common(2)
            if others:
                split = len(others) > 1 and others[0][1] == others[1][1]
                points.append((item, ballot.annotator, 0.5 if split else float(ballot.outcome == others[0][0])))
    return points


@AGREEMENTS.row(method="AGR-04", source="", label="agreement with the majority of the others")
def agreement_with_others(polls: Iterable[Poll]) -> Estimate:
    """How often a vote is what most of the others said (half a point where they are split). CI over items."""
    points = _points(polls)
    return estimate([value for _, _, value in points], [item for item, _, _ in points])


def each_with_others(polls: Iterable[Poll]) -> dict[str, Estimate]:
    """The same of each annotator (Wilson)."""
    by_annotator: dict[str, list[float]] = defaultdict(list)
    for _, annotator, value in _points(polls):
        by_annotator[annotator].append(value)
    return {annotator: _share(by_annotator[annotator]) for annotator in sorted(by_annotator)}


def _share(points: Sequence[float]) -> Estimate:
    return point(sum(points) / len(points), len(points), *wilson(sum(points), len(points)))


@AGREEMENTS.row(method="EVAL-03", source="", label="P(first shown wins)")
def first_shown_wins(votes: Iterable[Vote]) -> Estimate:
    """P(the answer shown first wins), over decided verdicts whose order is known; 0.5 without position bias.

    Both orders of a judged pair count, so that a judge that always takes the first comes out at 1, not at 0.5.
    """
    known = [(vote.prompt, *shown) for vote in votes for shown in vote.shown if shown[0] in ("a", "b")]
    return estimate([outcome == first for _, outcome, first in known], [prompt for prompt, _, _ in known])


@AGREEMENTS.row(method="EVAL-27", source="", label="P(longer wins)")
def longer_wins(votes: Iterable[Vote]) -> Estimate:
    """P(the longer answer wins), over decided votes on answers of different length in characters."""
    known = [vote for vote in votes if vote.outcome in ("a", "b") and vote.longer]
    return estimate([vote.outcome == vote.longer for vote in known], [vote.prompt for vote in known])


Ballots = dict[tuple[str, ...], dict[str, Vote]]  # comparison -> annotator -> first vote


def study(votes: Sequence[Vote]) -> dict[str, Any]:
    """Per kind of annotator: agreement, biases, and each person's votes; and how the kinds agree with each other.

    An annotator counts once per comparison, by the first vote; repeats are counted. Skips are no votes.
    """
    by_kind: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        if vote.outcome != "skip":
            by_kind[vote.kind].append(vote)
    ballots = {kind: _ballots(by_kind[kind]) for kind in sorted(by_kind)}
    return {
        "by_kind": {kind: _study_kind(by_kind[kind], ballots[kind]) for kind in ballots},
        "between_kinds": {f"{a} and {b}": between(ballots[a], ballots[b]) for a, b in combinations(ballots, 2)},
    }


def _ballots(votes: Iterable[Vote]) -> Ballots:
    ballots: Ballots = defaultdict(dict)
    for vote in votes:
        ballots[vote.key].setdefault(vote.annotator, vote)
    return ballots


def _study_kind(votes: Sequence[Vote], ballots: Ballots) -> dict[str, Any]:
    polls = [list(ballot.values()) for ballot in ballots.values()]
    given = {"votes": votes, "polls": polls, "units": [[vote.outcome for vote in poll] for poll in polls]}
    each = each_with_others(polls)
    cast = Counter(vote.annotator for vote in votes)
    return {
        "votes": len(votes),
        "comparisons": len(ballots),
        "repeated_votes": len(votes) - sum(map(len, polls)),
        "outcomes": dict(sorted(Counter(vote.outcome for vote in votes).items())),
        **{row.name: row.load()(*(given[need] for need in row.needs)) for row in AGREEMENTS},
        "annotators": {name: {"votes": cast[name], "with_others": each.get(name)} for name in sorted(cast)},
    }


def _most(ballot: dict[str, Vote]) -> str:
    top = Counter(vote.outcome for vote in ballot.values()).most_common(2)
    return "tie" if len(top) > 1 and top[0][1] == top[1][1] else top[0][0]


def between(one: Ballots, other: Ballots) -> Estimate:
    """How often two groups' majorities agree, on the comparisons that both have judged."""
    both = [key for key in one if key in other]
    return estimate([_most(one[key]) == _most(other[key]) for key in both], [key[0] for key in both])

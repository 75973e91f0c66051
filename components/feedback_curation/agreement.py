"""How far annotators agree (AGR-01, 03, 04) and what sways them: the place of an answer, and its length."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.feedback_curation.votes import Vote
from components.statistics import Estimate, estimate, point, undefined, wilson

RESAMPLES = 2000
_CHUNK = 1 << 22

Unit = Sequence[Hashable]  # the values that one item was given


def percent_agreement(units: Iterable[Unit]) -> Estimate:
    """AGR-01: mean over items with two votes or more of the share of vote pairs that agree. CI over items."""
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


def krippendorff_alpha(units: Iterable[Unit], seed: int = 0) -> Estimate:
    """AGR-03, nominal: 1 - Do/De, with items resampled for the interval; None where everybody gave one value.

    Krippendorff, Content Analysis (2004), ch. 11: Do = sum of off-diagonal coincidences / n, De = off-diagonal
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
        drawn.append(_alpha(weights @ observed, weights @ table))
    alphas = np.concatenate(drawn)
    low, high = np.quantile(alphas[~np.isnan(alphas)], [0.025, 0.975])
    return point(value, len(table), float(low), float(high))


def _alpha(observed: NDArray[np.float64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """alpha [R] from summed disagreement [R] and value totals [R, K]; NaN where only one value occurs."""
    n = totals.sum(1)
    expected = (n**2 - (totals**2).sum(1)) / (n - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - observed / expected, np.nan)


def with_others(units: Iterable[Sequence[tuple[str, Hashable]]]) -> tuple[Estimate, dict[str, Estimate]]:
    """AGR-04: how often a vote is what most of the others said (half a point where they are split).

    A unit is [(annotator, value), ...], one vote per annotator. Returns all votes together (CI over items) and each
    annotator (Wilson).
    """
    points: dict[str, list[float]] = defaultdict(list)
    flat: list[tuple[float, int]] = []
    for item, unit in enumerate(units):
        for i, (annotator, value) in enumerate(unit):
            others = Counter(other for j, (_, other) in enumerate(unit) if j != i).most_common()
            if others:
                split = len(others) > 1 and others[0][1] == others[1][1]
                point = 0.5 if split else float(value == others[0][0])
                points[annotator].append(point)
                flat.append((point, item))
    overall = estimate([point for point, _ in flat], [item for _, item in flat])
    return overall, {annotator: _share(points[annotator]) for annotator in sorted(points)}


def _share(points: Sequence[float]) -> Estimate:
    return point(sum(points) / len(points), len(points), *wilson(sum(points), len(points)))


def first_shown_wins(votes: Iterable[Vote]) -> Estimate:
    """P(the answer shown first wins), over decided votes whose order is known; 0.5 without position bias."""
    known = [vote for vote in votes if vote.outcome in ("a", "b") and vote.shown_first]
    return estimate([vote.outcome == vote.shown_first for vote in known], [vote.prompt for vote in known])


def longer_wins(votes: Iterable[Vote]) -> Estimate:
    """P(the longer answer wins), over decided votes on answers of different length in characters."""
    known = [vote for vote in votes if vote.outcome in ("a", "b") and vote.longer]
    return estimate([vote.outcome == vote.longer for vote in known], [vote.prompt for vote in known])


Ballots = dict[tuple[str, ...], dict[str, str]]  # comparison -> annotator -> outcome


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
        ballots[vote.key].setdefault(vote.annotator, vote.outcome)
    return ballots


def _study_kind(votes: Sequence[Vote], ballots: Ballots) -> dict[str, Any]:
    values = [list(ballot.values()) for ballot in ballots.values()]
    overall, each = with_others(list(ballot.items()) for ballot in ballots.values())
    cast = Counter(vote.annotator for vote in votes)
    return {
        "votes": len(votes),
        "comparisons": len(ballots),
        "repeated_votes": len(votes) - sum(map(len, values)),
        "outcomes": dict(sorted(Counter(vote.outcome for vote in votes).items())),
        "percent_agreement": percent_agreement(values),
        "krippendorff_alpha": krippendorff_alpha(values),
        "agreement_with_others": overall,
        "annotators": {name: {"votes": cast[name], "with_others": each.get(name)} for name in sorted(cast)},
        "first_shown_wins": first_shown_wins(votes),
        "longer_wins": longer_wins(votes),
    }


def _most(ballot: dict[str, str]) -> str:
    top = Counter(ballot.values()).most_common(2)
    return "tie" if len(top) > 1 and top[0][1] == top[1][1] else top[0][0]


def between(one: Ballots, other: Ballots) -> Estimate:
    """How often two groups' majorities agree, on the comparisons that both have judged."""
    both = [key for key in one if key in other]
    return estimate([_most(one[key]) == _most(other[key]) for key in both], [key[0] for key in both])

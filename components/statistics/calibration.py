"""How well stated probabilities match what happens (EVAL-15): calibration error, Brier score, log-likelihood.

Of a pair, `margins` [m] are the log-odds that its chosen side is preferred (r(chosen) - r(rejected) of a reward model)
and `labels` [m] the probability that it is. Every pair is looked at from both sides: with the chosen side first only,
every label would be 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from components.statistics.intervals import Bootstrap, Clusters, Estimate, finite, weigh

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: pairs in it, mean predicted and mean observed probability."""

    n: int
    predicted: float
    observed: float


def both_directions(probabilities: ArrayLike, labels: ArrayLike | None = None) -> tuple[Array, Array]:
    """(probabilities [2m], labels [2m]) of every pair seen from both sides, from P(chosen preferred) [m].

    Without `labels` the chosen side is the preferred one for certain.
    """
    p = finite("probabilities", probabilities, 0, 1)
    y = np.ones_like(p) if labels is None else finite("labels", labels, 0, 1)
    return np.concatenate([p, 1 - p]), np.concatenate([y, 1 - y])


def bin_index(p: Array, bins: int) -> NDArray[np.int64]:
    """Uniform bins of (0, 1], right-closed, the first one closed at 0."""
    edges = np.arange(1, bins) / bins
    return np.searchsorted(edges, p, side="left")  # edges below p: a value on an edge stays in the lower bin


def ece(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error: sum over bins of share * |mean label - mean probability|.

    For pairs pass both directions (`both_directions`). Raises ValueError if empty.
    """
    p, y = _rows(probabilities, labels)
    index = bin_index(p, bins)
    order = np.lexsort((y, p, index))
    gaps = np.bincount(index[order], weights=(y - p)[order], minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def brier(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared distance of probability and label; 0.25 for a model that always says 0.5."""
    p, y = _rows(probabilities, labels)
    return float(np.mean(np.sort((p - y) ** 2)))


def _rows(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    p, y = finite("probabilities", probabilities, 0, 1), finite("labels", labels, 0, 1)
    if len(p) != len(y) or not len(p):
        raise ValueError(
            f"probabilities: one label each, at least one row (got {len(p)} and {len(y)}). Check the rows."
        )
    return p, y


def sigmoid(margins: ArrayLike) -> Array:
    """Without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(np.asarray(margins, float) / 2)))


def reliability(margins: ArrayLike, labels: ArrayLike, bins: int = 10) -> list[Bin]:
    """The non-empty bins."""
    p, y = both_directions(sigmoid(margins), labels)
    index = bin_index(p, bins)
    return [
        Bin(int((index == b).sum()), float(p[index == b].mean()), float(y[index == b].mean()))
        for b in range(bins)
        if (index == b).any()
    ]


def ece_floor(pairs: int, bins: int = 10) -> float:
    """About the ECE of a perfectly calibrated model on so many pairs: 0.33 sqrt(b / pairs) with b independent bins.

    Seen from both directions a pair falls into two mirrored bins, so b is half of `bins`.
    """
    return 0.33 * sqrt(bins / 2 / pairs)


def ece_of_pairs(
    margins: ArrayLike, labels: ArrayLike, clusters: Clusters, bootstrap: Bootstrap, bins: int = 10
) -> Estimate:
    """`ece` of both directions with its interval. It cannot reach 0 on finite data, see `ece_floor`."""
    p, y = both_directions(sigmoid(margins), labels)
    m = len(p) // 2
    gaps = np.zeros((2 * m, bins))
    gaps[np.arange(2 * m), bin_index(p, bins)] = y - p
    gap = _per_cluster(gaps[:m] + gaps[m:], clusters)
    count = _per_cluster(np.full(m, 2.0), clusters)

    def statistic(weights: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(weigh(weights, gap)).sum(axis=1) / weigh(weights, count))

    return bootstrap.statistic(statistic, len(count), m)


def _per_cluster(rows: Array, clusters: Clusters) -> Array:
    names = {name: i for i, name in enumerate(sorted(set(clusters)))}
    sums = np.zeros((len(names), *rows.shape[1:]))
    np.add.at(sums, [names[name] for name in clusters], rows)
    return sums


def brier_of_pairs(margins: ArrayLike, labels: ArrayLike, clusters: Clusters, bootstrap: Bootstrap) -> Estimate:
    """`brier` with its interval; both directions of a pair are equally far off."""
    return bootstrap.mean((np.asarray(labels, float) - sigmoid(margins)) ** 2, clusters)


def nll_of_pairs(margins: ArrayLike, labels: ArrayLike, clusters: Clusters, bootstrap: Bootstrap) -> Estimate:
    """Mean negative log-likelihood of the labels, in nats; log 2 for a model that always says 0.5."""
    m, y = np.asarray(margins, float), np.asarray(labels, float)
    return bootstrap.mean(np.logaddexp(0.0, -m) * y + np.logaddexp(0.0, m) * (1 - y), clusters)

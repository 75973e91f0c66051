"""Estimates with intervals. Every resample is over clusters (prompts), never over votes (EVAL-38)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

Clusters = Sequence[Any]
"""The cluster of every row: any values that can be ordered (prompt keys)."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""Weights of the clusters [B, C] (how often each was drawn) -> the statistic of every draw [B]."""

ENOUGH = 30
"""Rows below which a group is shown, and decides nothing: no gate, no finding, no worst of several."""
ROUNDING = 1e-12
_CHUNK = 4_000_000  # weights held in memory at once


def weigh(weights: NDArray[np.float64], values: ArrayLike) -> NDArray[np.float64]:
    """Sum over clusters: weights [D, C] times values [C, ...], one row per draw.

    Not by the matrix product: BLAS sums in another order on another kind of processor, or by another setting of the
    environment, and the last bit of an interval, so the id of a report, would depend on the machine.
    """
    found: NDArray[np.float64] = np.einsum("dc,c...->d...", weights, np.asarray(values, dtype=np.float64))
    return found


class Estimate(TypedDict):
    """A value over `n` rows with its two-sided 95 % interval.

    A bound is None where the data cannot tell (fewer than two clusters, no variation); the value is None only in
    `undefined`.
    """

    value: float
    n: int
    ci_low: float | None
    ci_high: float | None


def point(value: float, n: int, low: float | None = None, high: float | None = None) -> Estimate:
    """An estimate from its parts; without bounds it has no interval."""
    return {"value": float(value), "n": int(n), "ci_low": low, "ci_high": high}


def undefined(n: int = 0) -> Estimate:
    """What `n` rows say nothing about: no value. Readers of summaries test for it, evaluation leaves it out."""
    return {"value": None, "n": n, "ci_low": None, "ci_high": None}  # type: ignore[typeddict-item]


def finite(name: str, values: ArrayLike, low: float = -math.inf, high: float = math.inf) -> NDArray[np.float64]:
    """`values` as fp64 [n]. Raises ValueError unless all are finite numbers in [low, high]."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name}: must have one dimension (got shape {array.shape}). Flatten it.")
    if not np.isfinite(array).all() or (array < low).any() or (array > high).any():
        raise ValueError(f"{name}: every value must be finite and in [{low}, {high}]. Drop and count bad rows first.")
    return array


def wilson(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion; (0, 1) for n = 0. `successes` may hold halves (ties)."""
    if not 0 <= successes <= n:
        raise ValueError(f"wilson: successes must be in [0, n] (got {successes} of {n}). Check the counts.")
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, scale = successes / n, 1 + z * z / n
    centre = (p + z * z / (2 * n)) / scale
    half = z / scale * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else max(0.0, centre - half)  # exact ends instead of 1e-17
    high = 1.0 if successes == n else min(1.0, centre + half)
    return low, high


@dataclass(frozen=True)
class Bootstrap:
    """Percentile bootstrap over clusters, the same draws for every statistic over equally many clusters.

    For two systems on the same prompts pass the differences: that is what makes it paired.
    """

    resamples: int = 10_000
    seed: int = 0
    confidence: float = 0.95

    def statistic(self, statistic: Statistic, clusters: int, n: int | None = None) -> Estimate:
        """Value on the data as they are (weight 1 each), and its interval. `n` defaults to the number of clusters."""
        value = float(statistic(np.ones((1, clusters)))[0])
        draws = (statistic(_weights(picks)) for picks in self._picks(clusters))
        return point(value, clusters if n is None else n, *self._interval(draws, clusters))

    def ratio(self, numerators: ArrayLike, denominators: ArrayLike, n: int | None = None) -> Estimate:
        """Sum over sum, one pair of terms per cluster."""
        top, bottom = np.asarray(numerators, float), np.asarray(denominators, float)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = float(np.divide(top.sum(), bottom.sum()))
        # picked terms summed: the same as `statistic` on weights, six times as fast
        draws = (top[picks].sum(axis=1) / bottom[picks].sum(axis=1) for picks in self._picks(len(top)))
        return point(value, len(top) if n is None else n, *self._interval(draws, len(top)))

    def _picks(self, clusters: int) -> Iterator[NDArray[np.int64]]:
        """Which clusters each draw holds, [B, C] at a time, `resamples` draws in all."""
        rng = np.random.default_rng(self.seed)
        step = max(1, _CHUNK // clusters)
        for start in range(0, self.resamples, step):
            yield rng.integers(0, clusters, size=(min(step, self.resamples - start), clusters))

    def _interval(self, draws: Iterator[np.ndarray], clusters: int) -> tuple[float | None, float | None]:
        """The percentile interval; (None, None) where the data cannot tell: one cluster, a draw that leaves the
        statistic undefined, or draws that are all alike (nothing but ties), which would claim certainty."""
        if clusters < 2:
            return None, None
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.concatenate(list(draws))
        if not np.isfinite(values).all() or np.ptp(values) <= ROUNDING * max(1.0, abs(values[0])):
            return None, None
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(values, [tail, 1 - tail])
        return float(low), float(high)

    def mean(self, values: ArrayLike, clusters: Clusters | None = None) -> Estimate:
        """Mean over rows; rows of one cluster (prompt) are drawn together."""
        array = finite("values", values)
        sums, counts = _by_cluster(array, clusters)
        return self.ratio(sums, counts, len(array))

    def rate(self, values: ArrayLike, clusters: Clusters | None = None) -> Estimate:
        """Mean of outcomes: Wilson interval for independent 0/1 values, else cluster bootstrap (EVAL-06).

        Where all values are 0, or all 1, resampling would claim certainty: then Wilson over the number of clusters.
        """
        array = finite("values", values)
        groups = len(array) if clusters is None else len(set(clusters))
        value = math.fsum(array) / len(array)
        if np.isin(array, (0.0, 1.0)).all() and (groups == len(array) or value in (0.0, 1.0)):
            return point(value, len(array), *wilson(round(value * groups), groups, self.confidence))
        return self.mean(array, clusters)


def estimate(values: ArrayLike, clusters: Clusters | None = None, bootstrap: Bootstrap | None = None) -> Estimate:
    """`Bootstrap.rate` for rows that may be none (`undefined`), by default with the draws of the evaluation report.

    Rows without clusters are exchangeable: they are put into order, so that the order of rows changes nothing.
    """
    array = finite("values", values)
    if not len(array):
        return undefined()
    return (bootstrap or Bootstrap()).rate(np.sort(array) if clusters is None else array, clusters)


def _weights(picks: NDArray[np.int64]) -> np.ndarray:
    """How often every cluster was picked [B, C]."""
    rows, clusters = picks.shape
    flat = (picks + np.arange(rows)[:, None] * clusters).ravel()
    return np.bincount(flat, minlength=rows * clusters).reshape(rows, clusters).astype(np.float64)


def _by_cluster(values: NDArray[np.float64], clusters: Clusters | None) -> tuple[list[float], list[float]]:
    """Sum and count per cluster, clusters in the order of their names: the order of rows cannot change the draws."""
    if clusters is None:
        return values.tolist(), [1.0] * len(values)
    if len(clusters) != len(values):
        raise ValueError(f"clusters: one per value (got {len(clusters)} for {len(values)}). Pass the same rows.")
    sums: dict[Any, float] = {}
    counts: dict[Any, float] = {}
    for value, cluster in sorted(zip(values.tolist(), clusters), key=lambda row: (row[1], row[0])):
        sums[cluster] = sums.get(cluster, 0.0) + value
        counts[cluster] = counts.get(cluster, 0.0) + 1.0
    return list(sums.values()), list(counts.values())

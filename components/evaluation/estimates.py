"""Estimates with intervals. Every resample is over clusters (prompts), never over votes (EVAL-38)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.statistics import wilson

Estimate = dict[str, Any]
"""{"value", "n", "ci_low", "ci_high"}; a bound is None where the data cannot tell (fewer than two clusters)."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""Weights of the clusters [B, C] (how often each was drawn) -> the statistic of every draw [B]."""

_CHUNK = 4_000_000  # weights held in memory at once


def estimate(value: float, n: int, low: float | None, high: float | None) -> Estimate:
    return {"value": float(value), "n": int(n), "ci_low": low, "ci_high": high}


@dataclass(frozen=True)
class Bootstrap:
    """Percentile bootstrap over clusters, the same draws for every statistic over the same clusters."""

    resamples: int = 10_000
    seed: int = 0
    confidence: float = 0.95

    def interval(self, statistic: Statistic, clusters: int) -> tuple[float | None, float | None]:
        """The percentile interval; (None, None) if a draw leaves the statistic undefined or there is one cluster."""
        if clusters < 2:
            return None, None
        rng = np.random.default_rng(self.seed)
        step = max(1, _CHUNK // clusters)
        draws = []
        for start in range(0, self.resamples, step):
            rows = min(step, self.resamples - start)
            picks = rng.integers(0, clusters, size=(rows, clusters))
            flat = (picks + np.arange(rows)[:, None] * clusters).ravel()
            weights = np.bincount(flat, minlength=rows * clusters).reshape(rows, clusters)
            with np.errstate(invalid="ignore", divide="ignore"):
                draws.append(statistic(weights.astype(np.float64)))
        values = np.concatenate(draws)
        if not np.isfinite(values).all():
            return None, None
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(values, [tail, 1 - tail])
        return float(low), float(high)

    def statistic(self, statistic: Statistic, clusters: int, n: int | None = None) -> Estimate:
        """Value on the data as they are (weight 1 each), and its interval. `n` defaults to the number of clusters."""
        value = float(statistic(np.ones((1, clusters)))[0])
        return estimate(value, clusters if n is None else n, *self.interval(statistic, clusters))

    def ratio(self, numerators: Sequence[float], denominators: Sequence[float], n: int | None = None) -> Estimate:
        """Sum over sum, one pair of terms per cluster."""
        top, bottom = np.asarray(numerators, float), np.asarray(denominators, float)
        return self.statistic(lambda weights: (weights @ top) / (weights @ bottom), len(top), n)

    def mean(self, values: Sequence[float], clusters: Sequence[str] | None = None) -> Estimate:
        """Mean over rows; rows of one cluster (prompt) are drawn together."""
        sums, counts = _by_cluster(values, clusters)
        return self.ratio(sums, counts, len(values))

    def rate(self, values: Sequence[float], clusters: Sequence[str] | None = None) -> Estimate:
        """Mean of values in [0, 1]: Wilson interval for independent 0/1 values, else cluster bootstrap (EVAL-06).

        Where all values are 0, or all 1, resampling would claim certainty: then Wilson over the number of clusters.
        """
        groups = len(values) if clusters is None else len(set(clusters))
        value = sum(values) / len(values)
        if set(values) <= {0.0, 1.0} and (groups == len(values) or value in (0.0, 1.0)):
            return estimate(value, len(values), *wilson(round(value * groups), groups, self.confidence))
        return self.mean(values, clusters)


def _by_cluster(values: Sequence[float], clusters: Sequence[str] | None) -> tuple[list[float], list[float]]:
    """Sum and count per cluster, clusters in the order of their names: the order of rows cannot change the draws."""
    if clusters is None:
        return [float(value) for value in values], [1.0] * len(values)
    sums: dict[str, float] = {}
    counts: dict[str, float] = {}
    for value, cluster in sorted(zip(values, clusters, strict=True), key=lambda row: (row[1], row[0])):
        sums[cluster] = sums.get(cluster, 0.0) + float(value)
        counts[cluster] = counts.get(cluster, 0.0) + 1.0
    return list(sums.values()), list(counts.values())

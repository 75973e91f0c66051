"""How well a reward model's margins state their own certainty (EVAL-15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from components.evaluation.estimates import Bootstrap, Estimate


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram: pairs in it, mean predicted and mean observed probability."""

    n: int
    predicted: float
    observed: float


def _both_directions(margins: Sequence[float], labels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Every pair in both directions: with the chosen side first only, every label would be 1."""
    margin, label = np.asarray(margins, float), np.asarray(labels, float)
    p = 0.5 * (1 + np.tanh(margin / 2))  # sigmoid without overflow
    return np.concatenate([p, 1 - p]), np.concatenate([label, 1 - label])


def _index(p: np.ndarray, bins: int) -> np.ndarray:
    """Uniform bins of (0, 1], right-closed, the first one closed at 0."""
    return np.asarray(np.clip(np.ceil(p * bins).astype(int) - 1, 0, bins - 1))


def reliability(margins: Sequence[float], labels: Sequence[float], bins: int = 10) -> list[Bin]:
    """The non-empty bins. `margins` are r(chosen) - r(rejected); `labels` the probability that chosen is preferred."""
    p, y = _both_directions(margins, labels)
    index = _index(p, bins)
    return [
        Bin(int((index == b).sum()), float(p[index == b].mean()), float(y[index == b].mean()))
        for b in range(bins)
        if (index == b).any()
    ]


def _per_cluster(rows: np.ndarray, clusters: Sequence[str]) -> np.ndarray:
    names = {name: i for i, name in enumerate(sorted(set(clusters)))}
    sums = np.zeros((len(names), *rows.shape[1:]))
    np.add.at(sums, [names[name] for name in clusters], rows)
    return sums


def ece_floor(pairs: int, bins: int = 10) -> float:
    """About the ECE of a perfectly calibrated model on so many pairs: 0.33 sqrt(b / pairs) with b independent bins.

    Seen from both directions a pair falls into two mirrored bins, so b is half of `bins`.
    """
    return 0.33 * sqrt(bins / 2 / pairs)


def calibration(
    margins: Sequence[float], labels: Sequence[float], clusters: Sequence[str], bootstrap: Bootstrap, bins: int = 10
) -> dict[str, Estimate]:
    """Expected calibration error, Brier score and negative log-likelihood of sigmoid(margin).

    ECE = sum_b n_b / N |observed_b - predicted_b|. It cannot reach 0 on finite data, see `ece_floor`.
    """
    m = len(margins)
    p, y = _both_directions(margins, labels)
    index = _index(p, bins)
    gaps = np.zeros((2 * m, bins))
    gaps[np.arange(2 * m), index] = y - p
    gap = _per_cluster(gaps[:m] + gaps[m:], clusters)
    count = _per_cluster(np.full(m, 2.0), clusters)
    margin, label = np.asarray(margins, float), np.asarray(labels, float)
    nll = np.logaddexp(0.0, -margin) * label + np.logaddexp(0.0, margin) * (1 - label)

    def ece(weights: np.ndarray) -> np.ndarray:
        return np.asarray(np.abs(weights @ gap).sum(axis=1) / (weights @ count))

    return {
        "reward_model.ece10": bootstrap.statistic(ece, len(count), m),
        "reward_model.brier": bootstrap.mean([float(v) for v in (label - p[:m]) ** 2], clusters),
        "reward_model.nll": bootstrap.mean([float(v) for v in nll], clusters),
    }

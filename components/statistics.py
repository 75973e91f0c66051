"""Intervals, tests, calibration and baselines for measured numbers. NumPy only (scikit-learn inside one baseline).

Everything is a pure function of its arguments and seed, and does not depend on the order of the rows. The unit of
resampling is the cluster, which is the prompt: several judgments of one prompt are not independent evidence.
"""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import Protocol, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray

_CHUNK = 1 << 22  # resampled values held at once


class Estimate(TypedDict):
    """A mean with its two-sided 95 % interval over `n` rows; all None but `n` when there are no rows."""

    value: float | None
    n: int
    ci_low: float | None
    ci_high: float | None


class Accuracy(TypedDict):
    """`strict` counts equal scores as wrong (RewardBench's rule for scalar models), `tie_half` as one half."""

    strict: Estimate
    tie_half: Estimate
    ties: int


class Pair(Protocol):
    """What a baseline reads of a comparison."""

    @property
    def messages(self) -> Sequence[dict[str, str]]: ...
    @property
    def chosen(self) -> str: ...
    @property
    def rejected(self) -> str: ...


def _array(name: str, values: ArrayLike, low: float = -math.inf, high: float = math.inf) -> NDArray[np.float64]:
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


def _cluster_sums(
    values: NDArray[np.float64], clusters: Sequence[Hashable] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(sum, count) of each cluster, in an order that depends on nothing but these numbers."""
    if clusters is None:
        return np.sort(values), np.ones_like(values)
    if len(clusters) != len(values):
        raise ValueError(f"clusters: one per value (got {len(clusters)} for {len(values)}). Pass the same rows.")
    number = {key: i for i, key in enumerate(dict.fromkeys(clusters))}
    index = np.array([number[key] for key in clusters])
    order = np.lexsort((values, index))  # so that the sum of a cluster does not depend on its order either
    sums = np.bincount(index[order], weights=values[order], minlength=len(number)).astype(np.float64)
    counts = np.bincount(index, minlength=len(number)).astype(np.float64)
    order = np.lexsort((counts, sums))
    return sums[order], counts[order]


def paired_bootstrap(
    values: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of the mean of `values` [n], resampling whole clusters.

    For two systems on the same prompts pass the differences: that is what makes it paired. Raises ValueError if empty.
    """
    array = _array("values", values)
    if not len(array):
        raise ValueError("values: no rows to resample (got 0). Report the metric as missing.")
    sums, counts = _cluster_sums(array, clusters)
    rng = np.random.Generator(np.random.PCG64(seed))
    k, means = len(sums), np.empty(resamples)
    step = max(1, _CHUNK // k)
    for start in range(0, resamples, step):
        drawn = rng.integers(k, size=(min(step, resamples - start), k), dtype=np.int64)
        means[start : start + step] = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def estimate(values: ArrayLike, clusters: Sequence[Hashable] | None = None, seed: int = 0) -> Estimate:
    """The mean of `values` [n] with a 95 % interval.

    Cluster bootstrap; Wilson for independent 0/1 values. When all values are 0, or all are 1, resampling would claim
    certainty: then Wilson over the number of clusters.
    """
    array = _array("values", values)
    if not len(array):
        return {"value": None, "n": 0, "ci_low": None, "ci_high": None}
    value = math.fsum(array) / len(array)
    groups = len(array) if clusters is None else len(set(clusters))
    if np.isin(array, (0.0, 1.0)).all() and (groups == len(array) or value in (0.0, 1.0)):
        low, high = wilson(round(value * groups), groups)
    else:
        low, high = paired_bootstrap(array, clusters=clusters, seed=seed)
    return {"value": value, "n": len(array), "ci_low": low, "ci_high": high}


def accuracy_strict_and_tie_half(
    chosen_scores: ArrayLike, rejected_scores: ArrayLike, clusters: Sequence[Hashable] | None = None, seed: int = 0
) -> Accuracy:
    """How often the chosen completion [n] scores higher, by both conventions for equal scores.

    Pass decided comparisons only: where people saw a tie there is nothing to be right about.
    """
    difference = _array("chosen_scores", chosen_scores) - _array("rejected_scores", rejected_scores)
    return {
        "strict": estimate(difference > 0, clusters, seed),
        "tie_half": estimate((np.sign(difference) + 1) / 2, clusters, seed),
        "ties": int((difference == 0).sum()),
    }


def mcnemar_exact(first_only: int, second_only: int) -> float:
    """Two-sided exact p-value of McNemar's test from the discordant counts (EVAL-38 c); 1 if there are none."""
    n, k = first_only + second_only, min(first_only, second_only)
    if k < 0:
        raise ValueError(f"mcnemar_exact: counts must be >= 0 (got {first_only}, {second_only}). Check them.")
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) - n * math.log(2) for i in range(k + 1)]
    return min(1.0, 2 * math.fsum(map(math.exp, logs)))


def ece(probabilities: ArrayLike, labels: ArrayLike, bins: int = 10) -> float:
    """Expected calibration error: sum over bins of share * |mean label - mean probability| (EVAL-15).

    Uniform bins, right-closed, the first also closed at 0. For pairs pass both directions (`both_directions`): of the
    chosen side alone every label is 1. Raises ValueError if empty.
    """
    p, y = _calibration_rows(probabilities, labels)
    edges = np.arange(1, bins) / bins
    index = np.searchsorted(edges, p, side="left")  # edges below p: a value on an edge stays in the lower bin
    order = np.lexsort((y, p, index))
    gaps = np.bincount(index[order], weights=(y - p)[order], minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def brier(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared distance of probability and label; 0.25 for a model that always says 0.5."""
    p, y = _calibration_rows(probabilities, labels)
    return math.fsum((p - y) ** 2) / len(p)


def _calibration_rows(probabilities: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    p, y = _array("probabilities", probabilities, 0, 1), _array("labels", labels, 0, 1)
    if len(p) != len(y) or not len(p):
        raise ValueError(
            f"probabilities: one label each, at least one row (got {len(p)} and {len(y)}). Check the rows."
        )
    return p, y


def both_directions(probabilities: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(probabilities [2n], labels [2n]) of every pair seen from both sides, from P(chosen preferred) [n]."""
    p = _array("probabilities", probabilities, 0, 1)
    return np.concatenate([p, 1 - p]), np.concatenate([np.ones_like(p), np.zeros_like(p)])


def _prompts(pairs: Sequence[Pair]) -> list[str]:
    return [json.dumps(list(pair.messages), sort_keys=True, ensure_ascii=False) for pair in pairs]


def length_baseline(comparisons: Sequence[Pair]) -> Estimate:
    """Accuracy of "the longer completion wins" (characters; equal lengths count one half), clustered by prompt."""
    sign = [np.sign(len(pair.chosen) - len(pair.rejected)) for pair in comparisons]
    return estimate((np.array(sign, dtype=np.float64) + 1) / 2, _prompts(comparisons))


def bag_of_words_baseline(train: Sequence[Pair], test: Sequence[Pair]) -> Estimate:
    """Accuracy on `test` of a Bradley-Terry model whose reward is linear in word counts, fitted on `train`.

    Logistic regression on count differences, each pair in both directions and without an intercept, so that it cannot
    learn which side is chosen. Both empty inputs give an empty estimate or, with no training pairs, one half.
    """
    if not test:
        return estimate([])
    scores = _bag_of_words_scores(train, test) if train else np.zeros(len(test))
    return estimate((np.sign(scores) + 1) / 2, _prompts(test))


def _bag_of_words_scores(train: Sequence[Pair], test: Sequence[Pair]) -> NDArray[np.float64]:
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = CountVectorizer(token_pattern=r"\w+|[^\w\s]", max_features=20_000, dtype=np.float64)
    vectorizer.fit([text for pair in train for text in (pair.chosen, pair.rejected)] + ["."])

    def differences(pairs: Sequence[Pair]):  # type: ignore[no-untyped-def]  # a scipy sparse matrix [n, words]
        return vectorizer.transform([p.chosen for p in pairs]) - vectorizer.transform([p.rejected for p in pairs])

    rows = differences(train)
    labels = np.repeat([1, 0], len(train))
    model = LogisticRegression(fit_intercept=False, max_iter=1000, tol=1e-6)
    model.fit(vstack([rows, -rows]), labels)
    scores: NDArray[np.float64] = model.decision_function(differences(test))
    return scores

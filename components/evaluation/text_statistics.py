"""What answers look like, apart from how good they are: length, ending, variety (EVAL-23)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np

from components.statistics.intervals import Bootstrap, Estimate, point


def ngrams(tokens: Sequence[Hashable], n: int) -> list[tuple[Hashable, ...]]:
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def percentile_length(lengths: Sequence[int], q: float, bootstrap: Bootstrap) -> Estimate:
    """The smallest length that at least the share `q` of the answers does not exceed."""
    order = np.sort(np.asarray(lengths, float))
    by_length = np.argsort(np.asarray(lengths, float), kind="stable")

    def statistic(weights: np.ndarray) -> np.ndarray:
        reached = np.cumsum(weights[:, by_length], axis=1) >= q * weights.sum(axis=1, keepdims=True) - 1e-9
        return np.asarray(order[reached.argmax(axis=1)])

    return bootstrap.statistic(statistic, len(lengths))


def distinct(answers: Sequence[Sequence[Hashable]], n: int) -> Estimate | None:
    """Distinct n-grams / n-grams over all answers; None if no answer has an n-gram.

    Interval: jackknife over answers (resampling would repeat answers, and so call any text repetitive).
    """
    counts = [Counter(ngrams(answer, n)) for answer in answers]
    total = sum(counts, Counter())
    size, kinds = sum(total.values()), len(total)
    if not size:
        return None
    without = []
    for own in counts:
        left = size - sum(own.values())
        gone = sum(total[gram] == count for gram, count in own.items())
        if left:
            without.append((kinds - gone) / left)
    value = kinds / size
    if len(without) < 2:
        return point(value, len(answers))
    m = len(without)
    error = np.sqrt((m - 1) / m * np.sum((np.array(without) - np.mean(without)) ** 2))
    return point(value, len(answers), float(max(0.0, value - 1.96 * error)), float(min(1.0, value + 1.96 * error)))


def repetition(answers: Sequence[Sequence[Hashable]], bootstrap: Bootstrap, n: int = 3) -> Estimate | None:
    """Mean over answers of 1 - distinct n-grams / n-grams within the answer; answers shorter than n repeat nothing."""
    if not answers:
        return None
    grams = [ngrams(answer, n) for answer in answers]
    return bootstrap.mean([1 - len(set(g)) / len(g) if g else 0.0 for g in grams])

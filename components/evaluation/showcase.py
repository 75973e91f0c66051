"""Which prompts are shown: a sample fixed before any output is looked at, and a labelled selection (EVAL-37)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


def draw(identity: str, prompt_set_hash: str, categories: Sequence[str], k: int) -> list[int]:
    """Indices of `k` prompts, without replacement; it depends on nothing that a model wrote.

    Seed: the first 8 hex digits of sha256(identity + newline + prompt set hash). Stratified by category through
    systematic sampling: shuffle, order by category, take every (n/k)-th from a random start. So each prompt is drawn
    with probability k/n, and each category gets its share of k, rounded up or down.
    """
    n = len(categories)
    if k >= n:
        return list(range(n))
    seed = int(hashlib.sha256(f"{identity}\n{prompt_set_hash}".encode()).hexdigest()[:8], 16)
    rng = np.random.default_rng(seed)
    shuffled = [int(i) for i in rng.permutation(n)]
    ordered = sorted(shuffled, key=lambda i: categories[i])  # stable: stays shuffled within a category
    points = (rng.random() + np.arange(k)) * n / k
    return sorted(ordered[min(int(point), n - 1)] for point in points)


@dataclass(frozen=True)
class Selection:
    """Rows picked *because of* their outputs, with the rule that picked them and how many it could have picked."""

    title: str
    rule: str
    total: int
    rows: list[int]


def largest(title: str, rule: str, sizes: dict[int, float], k: int) -> Selection:
    """The `k` rows of largest size; rows of equal size in their order."""
    ordered = sorted(sizes, key=lambda i: (-sizes[i], i))
    return Selection(title, rule, len(sizes), ordered[:k])


def disagreements(first: Sequence[float | None], second: Sequence[float | None]) -> dict[int, float]:
    """Rows on which two scorers name different winners, and by how much their values differ."""
    sizes = {}
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        if a is not None and b is not None and (a - 0.5) * (b - 0.5) < 0:
            sizes[i] = abs(a - b)
    return sizes

"""Baselines find what they look for, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from components.statistics import bag_of_words_baseline, length_baseline


@dataclass(frozen=True)
class Comparison:
    messages: tuple[dict[str, str], ...]
    chosen: str
    rejected: str


def comparison(chosen: str, rejected: str, prompt: str = "p") -> Comparison:
    return Comparison(({"role": "user", "content": prompt},), chosen, rejected)


def test_length_baseline_counts_longer_wins() -> None:
    """Longer wins, shorter wins, equal: (1 + 0 + .5) / 3."""
    rows = [comparison("long text", "short", "a"), comparison("x", "yy", "b"), comparison("ab", "cd", "c")]
    assert length_baseline(rows)["value"] == 0.5


def words(rng: np.random.Generator, n: int) -> list[Comparison]:
    rows = []
    for i in range(n):
        filler = [" ".join(rng.choice(["dog", "fox", "colour", "answer"], 5)) for _ in range(2)]
        rows.append(comparison(f"{filler[0]} thanks", f"{filler[1]} no", f"prompt {i}"))
    return rows


def test_bag_of_words_finds_words_that_decide() -> None:
    rng = np.random.default_rng(0)
    assert bag_of_words_baseline(words(rng, 50), words(rng, 40))["value"] == 1.0


def test_bag_of_words_knows_nothing_of_unseen_words() -> None:
    train = [comparison("good", "bad")]
    assert bag_of_words_baseline(train, [comparison("un", "known")])["value"] == 0.5
    assert bag_of_words_baseline([], [comparison("un", "known")])["value"] == 0.5
    assert bag_of_words_baseline(train, [])["n"] == 0


def test_bag_of_words_cannot_learn_the_side() -> None:
    """Texts drawn alike for both sides: about one half although the chosen side is always first."""
    rng = np.random.default_rng(0)
    rows = [
        comparison(*(" ".join(rng.choice(["a", "b", "c", "d"], 6)) for _ in range(2)), prompt=str(i))
        for i in range(400)
    ]
    found = bag_of_words_baseline(rows[:200], rows[200:])
    assert found["ci_low"] < 0.5 < found["ci_high"]  # type: ignore[operator]


def test_bag_of_words_is_deterministic_and_ignores_the_order_of_test_rows() -> None:
    rng = np.random.default_rng(0)
    train, test = words(rng, 20), words(rng, 20)
    assert bag_of_words_baseline(train, test) == bag_of_words_baseline(train, test[::-1])

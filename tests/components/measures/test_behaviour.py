"""Lengths and variety of answers."""

from __future__ import annotations

import numpy as np
import pytest

from components.measures import behaviour
from components.measures.evidence import NotMeasured
from components.statistics import Bootstrap

BOOT = Bootstrap(resamples=500, seed=0)


def test_distinct_bigrams_by_hand() -> None:
    """abab has ab, ba, ab; abc has ab, bc: 3 kinds (ab, ba, bc) of 5."""
    row = behaviour.distinct(["abab", "abc"], 2)
    assert (row["value"], row["n"]) == (0.6, 2)


def test_distinct_interval_is_the_jackknife() -> None:
    """Leaving out ab ab ... : abab -> 2/2, abc -> 2/3, cd -> 3/5 (m = 3); error = sqrt(2/3 * sum of squares)."""
    answers = ["abab", "abc", "cd"]  # kinds ab ba bc cd = 4 of 6
    row = behaviour.distinct(answers, 2)
    without = np.array([3 / 3, 3 / 4, 3 / 5])
    error = np.sqrt(2 / 3 * ((without - without.mean()) ** 2).sum())
    assert row["value"] == pytest.approx(4 / 6)
    assert row["ci_low"] == pytest.approx(4 / 6 - 1.96 * error)


def test_the_same_answer_everywhere_is_not_distinct() -> None:
    row = behaviour.distinct(["abcd"] * 10, 2)
    assert row["value"] == 0.1


def test_answers_without_bigrams_have_no_distinct_rate() -> None:
    with pytest.raises(NotMeasured, match="shorter than 2 tokens"):
        behaviour.distinct(["a", ""], 2)


@pytest.mark.parametrize(("q", "expected"), [(0.5, 2.0), (0.75, 3.0), (0.95, 10.0)])
def test_percentile_is_a_length_that_occurs(q: float, expected: float) -> None:
    assert behaviour.percentile_length([10, 1, 3, 2], q, BOOT)["value"] == expected

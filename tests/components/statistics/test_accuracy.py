"""One accuracy, two conventions for equal scores."""

from __future__ import annotations

import numpy as np
import pytest

from components.statistics import accuracy_strict_and_tie_half


def test_accuracy_by_both_conventions() -> None:
    """Scores: right, tie, wrong, tie -> strict 1/4, ties as one half 2/4."""
    found = accuracy_strict_and_tie_half([2, 1, 0, 3], [1, 1, 1, 3])
    assert found["strict"]["value"] == 0.25
    assert found["tie_half"]["value"] == 0.5
    assert found["ties"] == 2


def test_swapping_the_sides_mirrors_the_tie_half_accuracy() -> None:
    a, b = np.random.default_rng(0).integers(0, 4, (2, 50))
    there, back = accuracy_strict_and_tie_half(a, b), accuracy_strict_and_tie_half(b, a)
    assert there["tie_half"]["value"] == pytest.approx(1 - back["tie_half"]["value"])  # type: ignore[operator]

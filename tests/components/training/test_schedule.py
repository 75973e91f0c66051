"""Learning rates by hand."""

from __future__ import annotations

import math

import pytest

from components.training.params import Optimization
from components.training.schedule import learning_rate, total_steps


def rates(schedule: str, total: int = 10) -> list[float]:
    settings = Optimization(learning_rate=1.0, schedule=schedule, warmup=0.2)  # type: ignore[arg-type]
    return [learning_rate(step, total, settings) for step in range(total)]


def test_warmup_reaches_the_peak_in_its_last_step_and_never_wastes_one() -> None:
    assert rates("constant") == [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1]  # 0.2 * 10 = 2 steps: 1/2, 2/2


def test_linear_falls_to_zero() -> None:
    assert rates("linear")[2:] == pytest.approx([1 - k / 8 for k in range(8)])


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert rates("cosine")[6] == pytest.approx(0.5)  # (6 - 2) / 8 = 1/2: (1 + cos(pi/2)) / 2
    assert rates("cosine")[9] == pytest.approx(0.5 * (1 + math.cos(math.pi * 7 / 8)))


def test_steps_by_epochs_or_by_count() -> None:
    assert total_steps(33, Optimization(batch_size=8, epochs=1)) == 5  # 33 / 8, rounded up
    assert total_steps(32, Optimization(batch_size=8, epochs=2.5)) == 10
    assert total_steps(3, Optimization(batch_size=8, epochs=0.1)) == 1
    assert total_steps(32, Optimization(batch_size=8, epochs=2, max_steps=7)) == 7

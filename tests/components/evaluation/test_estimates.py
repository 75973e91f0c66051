"""Intervals: Wilson where it is exact enough, else a bootstrap over prompts."""

from __future__ import annotations

import numpy as np
import pytest

from components.evaluation import estimates
from components.evaluation.estimates import Bootstrap

BOOT = Bootstrap(resamples=2000, seed=0)


@pytest.mark.parametrize(("wins", "n", "low", "high"), [(0, 10, 0.0, 0.278), (55, 100, 0.452, 0.644)])
def test_rate_of_independent_01_values_is_wilson(wins: int, n: int, low: float, high: float) -> None:
    row = BOOT.rate([1.0] * wins + [0.0] * (n - wins))
    assert (row["value"], row["n"]) == (wins / n, n)
    assert row["ci_low"] == pytest.approx(low, abs=5e-4)
    assert row["ci_high"] == pytest.approx(high, abs=5e-4)


def test_all_ones_in_repeated_clusters_claim_no_more_than_their_clusters() -> None:
    """30 votes on 3 prompts, all right: Wilson for 3 of 3 starts at 0.438, for 30 of 30 at 0.886."""
    row = BOOT.rate([1.0] * 30, ["a", "b", "c"] * 10)
    assert row["n"] == 30
    assert row["ci_low"] == pytest.approx(3 / (3 + 1.959964**2), abs=1e-6)
    assert row["ci_high"] == 1.0


def test_mean_interval_reproduces_the_analytic_standard_error() -> None:
    values = np.random.default_rng(1).normal(2.0, 3.0, 400)
    row = Bootstrap(resamples=10_000).mean(list(values))
    width = 2 * 1.959964 * values.std() / np.sqrt(400)
    assert row["value"] == pytest.approx(values.mean())
    assert row["ci_high"] - row["ci_low"] == pytest.approx(width, rel=0.05)


def test_ratio_is_sum_over_sum() -> None:
    """(1 + 4) / (2 + 8) = 0.5, not the mean of ratios; equal ratios leave nothing uncertain."""
    row = BOOT.ratio([1, 4], [2, 8])
    assert row == {"value": 0.5, "n": 2, "ci_low": 0.5, "ci_high": 0.5}


def test_votes_of_one_prompt_are_drawn_together() -> None:
    """Asking every prompt ten times tells nothing new, so the interval stays as wide."""
    values, keys = [0.0, 1.0, 0.5, 1.0, 0.0, 1.0], list("abcdef")
    once = BOOT.mean(values, keys)
    tenfold = BOOT.mean(values * 10, keys * 10)
    assert tenfold["n"] == 60
    assert (tenfold["ci_low"], tenfold["ci_high"]) == pytest.approx((once["ci_low"], once["ci_high"]))


def test_repeated_prompts_do_not_pass_for_independent_ones() -> None:
    """Ten votes on each of six prompts, all alike within a prompt: the interval is that of six, not of sixty."""
    values, keys = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0], list("abcdef")
    tenfold = BOOT.rate(values * 10, keys * 10)
    assert tenfold["ci_high"] - tenfold["ci_low"] > 0.6


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    values, keys = [float(v) for v in rng.random(50)], [f"p{i % 17}" for i in range(50)]
    order = rng.permutation(50)
    assert BOOT.mean(values, keys) == BOOT.mean([values[i] for i in order], [keys[i] for i in order])


def test_a_fixed_seed_gives_a_fixed_interval_and_another_seed_another() -> None:
    values = [float(v) for v in np.random.default_rng(0).random(40)]
    assert BOOT.mean(values) == BOOT.mean(values)
    assert BOOT.mean(values) != Bootstrap(2000, 1).mean(values)


def test_memory_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [float(v) for v in np.random.default_rng(0).random(7)]
    whole = BOOT.mean(values)
    monkeypatch.setattr(estimates, "_CHUNK", 7 * 3)
    assert BOOT.mean(values) == whole


def test_one_prompt_has_no_interval() -> None:
    assert BOOT.mean([0.3]) == {"value": 0.3, "n": 1, "ci_low": None, "ci_high": None}


def test_a_draw_without_a_value_means_no_interval() -> None:
    """Two of three denominators are 0: some draws hold only those."""
    row = BOOT.ratio([1.0, 0.0, 0.0], [1.0, 0.0, 0.0])
    assert row["value"] == 1.0
    assert row["ci_low"] is None

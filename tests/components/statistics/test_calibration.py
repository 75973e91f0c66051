"""Reliability of stated probabilities, of single events and of pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from components.statistics import Bootstrap, Estimate, both_directions, brier, ece
from components.statistics.calibration import (
    bin_index,
    brier_of_pairs,
    ece_floor,
    ece_of_pairs,
    nll_of_pairs,
    reliability,
)

BOOT = Bootstrap(resamples=200, seed=0)


def calibration(margins: object, labels: object, clusters: list[str], bootstrap: Bootstrap) -> dict[str, Estimate]:
    functions = {"ece": ece_of_pairs, "brier": brier_of_pairs, "nll": nll_of_pairs}
    return {name: function(margins, labels, clusters, bootstrap) for name, function in functions.items()}


def _keys(n: int) -> list[str]:
    return [f"p{i}" for i in range(n)]


def test_calibration_error_by_hand() -> None:
    """Margin log 3 is p = 0.75. Of four such pairs three are right: both directions match their bin, error 0."""
    rows = calibration([np.log(3)] * 4, [1, 1, 1, 0], _keys(4), BOOT)
    assert rows["ece"]["value"] == pytest.approx(0, abs=1e-12)
    assert rows["brier"]["value"] == pytest.approx((3 * 0.0625 + 0.5625) / 4)
    assert rows["nll"]["value"] == pytest.approx(-(3 * np.log(0.75) + np.log(0.25)) / 4)


def test_calibration_error_with_and_without_interval_agree() -> None:
    margins = np.random.default_rng(0).normal(0.5, 2, 300)
    p = 1 / (1 + np.exp(-margins))
    row = calibration(margins, [1.0] * 300, _keys(300), BOOT)["ece"]
    assert row["value"] == pytest.approx(ece(*both_directions(p)))
    assert row["n"] == 300


def test_the_floor_is_what_a_perfect_model_shows() -> None:
    """Mean over 60 simulations of 400 pairs with uniform p and labels drawn from it."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        p = rng.random(400)
        labels = (rng.random(400) < p).astype(float)
        bins = reliability(np.log(p / (1 - p)), labels)
        found.append(sum(b.n * abs(b.observed - b.predicted) for b in bins) / 800)
    assert np.mean(found) == pytest.approx(ece_floor(400), rel=0.1)


def test_labels_drawn_from_the_model_stay_below_the_floor() -> None:
    """At most 0.4 sqrt(bins / N) on data of this size (EVAL-15)."""
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 1.5, 4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-margins))).astype(float)
    rows = calibration(margins, labels, _keys(4000), BOOT)
    assert rows["ece"]["value"] < 0.4 * np.sqrt(10 / 4000)
    overconfident = calibration(3 * margins, labels, _keys(4000), BOOT)
    assert overconfident["ece"]["value"] > 0.1


def test_the_order_of_rows_and_of_sides_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    margins, labels, keys = (
        rng.normal(0, 1, 60),
        (rng.random(60) < 0.6).astype(float),
        [f"p{i % 20}" for i in range(60)],
    )
    rows = calibration(margins, labels, keys, BOOT)
    order = rng.permutation(60)
    shuffled = calibration(margins[order], labels[order], [keys[i] for i in order], BOOT)
    mirrored = calibration(-margins, 1 - labels, keys, BOOT)
    for name, row in rows.items():
        assert shuffled[name]["value"] == pytest.approx(row["value"])
        assert shuffled[name]["ci_low"] == pytest.approx(row["ci_low"])
        assert mirrored[name]["value"] == pytest.approx(row["value"])


def test_extreme_margins_stay_finite() -> None:
    rows = calibration([1e4, -1e4], [1.0, 1.0], _keys(2), BOOT)
    assert rows["nll"]["value"] == pytest.approx(5000)
    assert rows["ece"]["value"] == pytest.approx(0.5)


def test_bins_are_right_closed_and_the_first_is_closed_at_zero() -> None:
    assert list(bin_index(np.array([0.0, 0.5, 0.5001, 1.0]), 2)) == [0, 0, 1, 1]


def test_reliability_holds_every_pair_in_both_directions() -> None:
    bins = reliability([np.log(3)] * 4, [1, 1, 1, 0])
    assert [(b.n, b.predicted, b.observed) for b in bins] == [(4, 0.25, 0.25), (4, 0.75, 0.75)]


def test_ece_by_hand() -> None:
    """Bin (.1, .2]: p .2, label 0, gap .2. Bin (.6, .7]: p .7 and .65, labels 1 and 0, gap |.5 - .675| = .175.
    ECE = 1/3 * .2 + 2/3 * .175."""
    assert ece([0.2, 0.7, 0.65], [0, 1, 0]) == pytest.approx(0.2 / 3 + 2 / 3 * 0.175)


def test_ece_bins_are_right_closed_and_the_first_holds_0() -> None:
    """0 and .1 share the first bin (gap |.5 - .05|); .1 and .15 do not share one (gaps .9 and .15)."""
    assert ece([0.0, 0.1], [0, 1]) == pytest.approx(0.45)
    assert ece([0.1, 0.15], [1, 0]) == pytest.approx((0.9 + 0.15) / 2)
    for edge in range(1, 10):
        assert ece([edge / 10, edge / 10 - 0.05], [1, 0]) == pytest.approx(abs(0.5 - (edge / 10 - 0.025)))


def test_ece_of_calibrated_labels_falls_to_its_floor() -> None:
    """Labels drawn from p: the floor is about .31 to .35 sqrt(bins / N), at most .4."""
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    assert ece(p, rng.random(20_000) < p) < 0.4 * math.sqrt(10 / 20_000)


def test_ece_does_not_depend_on_the_order() -> None:
    rng = np.random.default_rng(0)
    p, y = rng.random(500), rng.integers(0, 2, 500)
    order = rng.permutation(500)
    assert ece(p, y) == ece(p[order], y[order])


def test_both_directions_balance_the_labels() -> None:
    p, y = both_directions([0.9, 0.6])
    assert y.mean() == 0.5
    assert p.tolist() == pytest.approx([0.9, 0.6, 0.1, 0.4])


def test_brier_of_a_coin() -> None:
    assert brier([0.5, 0.5], [0, 1]) == 0.25
    assert brier([1.0, 0.0], [1, 0]) == 0.0

"""Intervals: Wilson where it is exact enough, else a bootstrap over prompts."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import numpy as np
import pytest

from components.statistics import Bootstrap, estimate, intervals, wilson

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
    """(1 + 4) / (2 + 8) = 0.5, not the mean of ratios; equal ratios say nothing of how sure that is."""
    row = BOOT.ratio([1, 4], [2, 8])
    assert row == {"value": 0.5, "n": 2, "ci_low": None, "ci_high": None}


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
    monkeypatch.setattr(intervals, "_CHUNK", 7 * 3)
    assert BOOT.mean(values) == whole


def test_one_prompt_has_no_interval() -> None:
    assert BOOT.mean([0.3]) == {"value": 0.3, "n": 1, "ci_low": None, "ci_high": None}


def test_a_draw_without_a_value_means_no_interval() -> None:
    """Two of three denominators are 0: some draws hold only those."""
    row = BOOT.ratio([1.0, 0.0, 0.0], [1.0, 0.0, 0.0])
    assert row["value"] == 1.0
    assert row["ci_low"] is None


@pytest.mark.parametrize(("successes", "n", "low", "high"), [(0, 10, 0, 0.278), (55, 100, 0.452, 0.644)])
def test_wilson_values(successes: int, n: int, low: float, high: float) -> None:
    """EVAL-38 e."""
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-4)


def test_wilson_by_hand() -> None:
    """1 of 4 at z = 1.959964: z^2 = 3.841459; centre (.25 + .480182) / 1.960365 = .372472;
    half 1.959964 / 1.960365 * sqrt(.1875 / 4 + 3.841459 / 64) = .999796 * .326952 = .326885."""
    assert wilson(1, 4) == pytest.approx((0.372472 - 0.326885, 0.372472 + 0.326885), abs=1e-5)


def test_wilson_mirrors_and_has_no_data_case() -> None:
    low, high = wilson(7, 30)
    assert wilson(23, 30) == pytest.approx((1 - high, 1 - low))
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(10, 10)[1] == 1.0


def test_wilson_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson(3, 2)


def test_bootstrap_keeps_its_level_under_the_null() -> None:
    """1000 data sets of 200 differences with mean 0: the interval misses 0 in about 5 % of them."""
    rng = np.random.default_rng(0)
    missed = 0
    for seed in range(1000):
        row = Bootstrap(resamples=300, seed=seed).mean(rng.normal(size=200))
        missed += not row["ci_low"] <= 0 <= row["ci_high"]
    assert 0.03 <= missed / 1000 <= 0.07


def test_bootstrap_weighs_clusters_by_their_rows() -> None:
    """The mean over rows, not over clusters: clusters [0 x 3] and [1] resampled give 0, 1 or 1/4."""
    row = Bootstrap().mean([0, 0, 0, 1], ["a", "a", "a", "b"])
    assert (row["value"], row["ci_low"], row["ci_high"]) == (0.25, 0.0, 1.0)


def test_estimate_of_independent_outcomes_is_wilson() -> None:
    found = estimate([1.0] * 55 + [0.0] * 45)
    assert (found["ci_low"], found["ci_high"]) == wilson(55, 100)
    assert (found["value"], found["n"]) == (0.55, 100)


def test_estimate_never_claims_certainty() -> None:
    """12 wins over 3 prompts: the interval is that of 3 of 3."""
    found = estimate([1.0] * 12, ["a", "b", "c"] * 4)
    assert (found["ci_low"], found["ci_high"]) == wilson(3, 3)


def test_estimate_of_nothing_says_so() -> None:
    assert estimate([]) == {"value": None, "n": 0, "ci_low": None, "ci_high": None}


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_estimate_refuses_what_is_not_a_number(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        estimate([0.0, bad])


def test_estimate_does_not_depend_on_the_order_of_exchangeable_rows() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=60)
    assert estimate(values) == estimate(values[rng.permutation(60)])


def test_estimate_is_what_the_report_prints() -> None:
    """By default the draws are those of a bootstrap with its defaults, which evaluation has too."""
    rng = np.random.default_rng(0)
    values, clusters = (rng.random(80) < 0.7).astype(float), [f"p{i % 30}" for i in range(80)]
    assert estimate(values, clusters) == Bootstrap().rate(values, clusters)
    assert estimate(values, clusters, Bootstrap(500, 3)) == Bootstrap(500, 3).rate(values, clusters)


def test_clusters_must_be_one_per_row() -> None:
    with pytest.raises(ValueError, match="got 1 for 2"):
        estimate([1.0, 0.0], ["a"])


def test_ratios_are_drawn_as_any_other_statistic() -> None:
    """The short way (picked terms summed) and the general way (weights of the clusters) see the same draws."""
    rng = np.random.default_rng(0)
    top, bottom = rng.normal(size=50), rng.integers(1, 4, 50).astype(float)
    short = BOOT.ratio(top, bottom)
    general = BOOT.statistic(lambda weights: (weights @ top) / (weights @ bottom), 50)
    assert short == {name: pytest.approx(value) for name, value in general.items()}


def test_sums_over_clusters_do_not_depend_on_how_the_machine_multiplies_matrices() -> None:
    """The kernels of BLAS differ in the last bit, and with it the id of a report: two of them, one answer."""
    code = (
        "import numpy as np\nfrom components.statistics import weigh\nrng = np.random.default_rng(0)\n"
        "weights, values = rng.integers(0, 5, (200, 37)).astype(float), rng.normal(size=(37, 10))\n"
        "print(weigh(weights, values).tobytes().hex(), (weights @ values).sum() - weigh(weights, values).sum())"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "OPENBLAS_CORETYPE": kernel},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for kernel in ("Haswell", "Nehalem")
    ]
    assert said[0][0] == said[1][0]
    assert all(abs(float(rest)) < 1e-9 for _, rest in said)


@pytest.mark.parametrize("values", [[0.5] * 40, [3.0] * 40, [0.1 + 0.2] * 40])
def test_rows_that_are_all_alike_have_no_interval(values: list[float]) -> None:
    """Forty ties do not prove that the win rate is 50 % to the last digit."""
    found = Bootstrap(200).mean(values)
    assert found["value"] == pytest.approx(values[0])
    assert (found["n"], found["ci_low"], found["ci_high"]) == (40, None, None)
    assert Bootstrap(200).rate(values if values[0] <= 1 else [1.0] * 40)["n"] == 40

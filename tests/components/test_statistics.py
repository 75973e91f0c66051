"""Intervals cover, tests keep their level, orders do not matter, baselines find what they look for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from components.statistics import (
    accuracy_strict_and_tie_half,
    bag_of_words_baseline,
    both_directions,
    brier,
    ece,
    estimate,
    length_baseline,
    mcnemar_exact,
    paired_bootstrap,
    wilson,
)


@dataclass(frozen=True)
class Comparison:
    messages: tuple[dict[str, str], ...]
    chosen: str
    rejected: str


def comparison(chosen: str, rejected: str, prompt: str = "p") -> Comparison:
    return Comparison(({"role": "user", "content": prompt},), chosen, rejected)


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


def test_bootstrap_reproduces_the_analytic_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=300)
    low, high = paired_bootstrap(values, seed=1)
    assert (high - low) / (2 * 1.959964) == pytest.approx(values.std() / math.sqrt(300), rel=0.03)


def test_bootstrap_keeps_its_level_under_the_null() -> None:
    """1000 data sets of 200 differences with mean 0: the interval misses 0 in about 5 % of them."""
    rng = np.random.default_rng(0)
    missed = 0
    for seed in range(1000):
        low, high = paired_bootstrap(rng.normal(size=200), resamples=300, seed=seed)
        missed += not low <= 0 <= high
    assert 0.03 <= missed / 1000 <= 0.07


def test_clusters_are_resampled_whole() -> None:
    """100 prompts judged 4 times alike hold the evidence of 100 rows, not 400."""
    values = np.random.default_rng(0).normal(size=100)
    repeated, clusters = np.repeat(values, 4), np.repeat(np.arange(100), 4).tolist()
    alone = paired_bootstrap(values, seed=0)
    assert paired_bootstrap(repeated, clusters=clusters, seed=0) == pytest.approx(alone)
    naive = paired_bootstrap(repeated, seed=0)
    assert alone[1] - alone[0] > 1.8 * (naive[1] - naive[0])


def test_bootstrap_weighs_clusters_by_their_rows() -> None:
    """The mean over rows, not over clusters: clusters [0 x 3] and [1] resampled give 0, 1 or 1/4."""
    low, high = paired_bootstrap([0, 0, 0, 1], clusters=["a", "a", "a", "b"], seed=0)
    assert (low, high) == (0.0, 1.0)
    assert estimate([0, 0, 0, 1], ["a", "a", "a", "b"])["value"] == 0.25


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    values, clusters = rng.normal(size=60), rng.integers(0, 20, 60)
    order = rng.permutation(60)
    assert estimate(values, clusters.tolist()) == estimate(values[order], clusters[order].tolist())


def test_a_seed_fixes_the_interval() -> None:
    values = np.random.default_rng(0).normal(size=30)
    assert paired_bootstrap(values, seed=3) == paired_bootstrap(values, seed=3)
    assert paired_bootstrap(values, seed=3) != paired_bootstrap(values, seed=4)


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


def test_mcnemar_by_hand() -> None:
    """1 and 5: 2 (C(6,0) + C(6,1)) / 2^6 = 14/64; 3 and 3: uncapped 2 * 42/64 > 1; 0 and 0: no evidence."""
    assert mcnemar_exact(1, 5) == pytest.approx(14 / 64)
    assert mcnemar_exact(5, 1) == mcnemar_exact(1, 5)
    assert mcnemar_exact(3, 3) == 1.0
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(4000, 4400) == pytest.approx(1.3e-5, rel=0.05)


def test_mcnemar_is_conservative_under_the_null() -> None:
    rng = np.random.default_rng(0)
    draws = rng.multinomial(200, [0.1, 0.1, 0.8], size=2000)
    rejected = np.mean([mcnemar_exact(int(b), int(c)) <= 0.05 for b, c, _ in draws])
    assert 0.02 <= rejected <= 0.05


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

"""Win rates, and how much of them is length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from components.measures import wins
from components.measures.evidence import Answers, NotMeasured
from components.measures.groups import slices, worst_group
from components.measures.wins import Tally
from components.statistics import Bootstrap, Estimate
from tests.components.measures.cases import answers, sample

BOOT = Bootstrap(resamples=1000, seed=0)


def _votes(candidate: Sequence[float], opponent: Sequence[float]) -> list[float]:
    """Win, loss or tie per prompt from scores."""
    return [1.0 if a > b else 0.0 if a < b else 0.5 for a, b in zip(candidate, opponent, strict=True)]


def _sides(gaps: list[float]) -> tuple[Answers, Answers]:
    """Answers whose lengths differ by `gaps` characters, in thousandths."""
    sizes = [round(1000 * gap) for gap in gaps]
    own = [sample(i, "x" * max(0, size), (1,)) for i, size in enumerate(sizes)]
    other = [sample(i, "x" * max(0, -size), (1,)) for i, size in enumerate(sizes)]
    return answers("candidate", own), answers("reference", other)


def _balanced(values: list[float], gaps: list[float]) -> Estimate:
    return wins.win_rate_length_balanced(values, _sides(list(gaps)), BOOT)


def test_a_model_against_itself_is_exactly_half() -> None:
    scores = [0.1, -2.0, 7.5]
    row = wins.win_rate(_votes(scores, scores), BOOT)
    assert row == {"value": 0.5, "n": 3, "ci_low": None, "ci_high": None}


def test_win_rate_counts_ties_half_and_leaves_missing_verdicts_out() -> None:
    """2 wins, 1 loss, 1 tie, 1 without verdict: (2 + 0.5) / 4 = 0.625."""
    values = [1.0, 1.0, 0.0, 0.5, None]
    row = wins.win_rate(values, BOOT)
    assert (row["value"], row["n"]) == (0.625, 4)
    assert wins.tally(values) == Tally(wins=2, losses=1, ties=1, missing=1)


def test_no_verdict_at_all_is_no_win_rate() -> None:
    with pytest.raises(NotMeasured, match="no pair got a verdict"):
        wins.win_rate([None, None], BOOT)


@pytest.mark.parametrize("ties", [False, True])
def test_exchanging_the_systems_gives_one_minus_the_rate_and_the_mirrored_interval(ties: bool) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 3 if ties else 10**6, (2, 80))
    row = wins.win_rate(_votes(a, b), BOOT)
    swapped = wins.win_rate(_votes(b, a), BOOT)
    assert swapped["value"] == pytest.approx(1 - row["value"], abs=1e-12)
    assert swapped["ci_low"] == pytest.approx(1 - row["ci_high"], abs=1e-3)  # quantiles of mirrored draws
    assert swapped["ci_high"] == pytest.approx(1 - row["ci_low"], abs=1e-3)


def test_length_balanced_rate_by_hand() -> None:
    """Longer: wins 1, 1, 0 -> 2/3. Shorter: 0 -> 0. An equal length counts half in both: (2 + .5)/3.5, (0 + .5)/1.5."""
    values, gaps = [1.0, 1.0, 0.0, 0.0, 1.0], [5, 9, 1, -4, 0]
    row = _balanced(values, gaps)
    assert row["value"] == pytest.approx((2.5 / 3.5 + 0.5 / 1.5) / 2)


def test_a_scorer_that_only_likes_length_is_balanced_to_half() -> None:
    """The candidate is longer on 3 of 4 prompts: raw 0.75, balanced 0.5."""
    gaps = [4.0, 2.0, 1.0, -3.0] * 10
    values = [1.0 if gap > 0 else 0.0 for gap in gaps]
    assert wins.win_rate(values, BOOT)["value"] == 0.75
    assert _balanced(values, gaps)["value"] == 0.5


def test_a_scorer_that_ignores_length_is_balanced_to_about_its_raw_rate() -> None:
    rng = np.random.default_rng(0)
    values = [float(v) for v in rng.random(4000) < 0.7]
    row = _balanced(values, rng.normal(1, 1, 4000))
    assert row["value"] == pytest.approx(0.7, abs=0.03)


@pytest.mark.parametrize("gaps", [[1, 2, 3], [-1, -2, -3]])
def test_a_candidate_always_longer_or_shorter_cannot_be_balanced(gaps: list[float]) -> None:
    with pytest.raises(NotMeasured, match="cannot be told apart"):
        _balanced([1.0, 0.0, 1.0], gaps)


def test_gain_by_hand() -> None:
    """Differences 1, 1, 1 have mean 1; the opponent's 0, 1, 2 have standard deviation sqrt(2/3)."""
    row = wins.gain(([1, 2, 3], [0, 1, 2]), BOOT)
    assert row["value"] == pytest.approx(1 / np.sqrt(2 / 3))


def test_gain_over_a_constant_opponent_is_undefined() -> None:
    with pytest.raises(NotMeasured, match="all equal"):
        wins.gain(([1, 2, 3], [5, 5, 5]), BOOT)


def test_within_length_share_by_hand() -> None:
    """Two bins (length 1 and 2), candidate in them 1:3, opponent 3:1, mean scores 1, 2 and 0, 1.

    total = (1 + 3*2)/4 - (3*0 + 1)/4 = 1.75 - 0.25 = 1.5; within = (1/4 + 3/4)/2 * 1 * 2 bins = 1; share 2/3.
    """
    share = wins.within_length_share([1, 2, 2, 2], [0, 0, 0, 1], [1, 2, 2, 2], [1, 1, 1, 2], bins=2)
    assert share == pytest.approx(2 / 3)


def test_a_reward_that_is_length_leaves_nothing_within_bins() -> None:
    rng = np.random.default_rng(0)
    mine, theirs = rng.integers(1, 11, 4000) + rng.integers(0, 2, 4000), rng.integers(1, 11, 4000)
    share = wins.within_length_share(mine, theirs, mine, theirs, bins=20)
    assert share is None or share == pytest.approx(0, abs=0.05)
    lengths = np.minimum(mine, 10)  # the same support, still longer
    assert wins.within_length_share(lengths, theirs, lengths, theirs, bins=20) == pytest.approx(0, abs=0.05)


def test_a_reward_that_ignores_length_stays_within_bins() -> None:
    rng = np.random.default_rng(0)
    mine, theirs = np.minimum(rng.integers(1, 11, 8000) + 1, 10), np.maximum(rng.integers(1, 11, 8000), 2)
    share = wins.within_length_share(rng.normal(1, 1, 8000), rng.normal(0, 1, 8000), mine, theirs)
    assert share == pytest.approx(1, abs=0.05)


def test_lengths_without_overlap_tell_nothing() -> None:
    assert wins.within_length_share([1, 1], [0, 0], [9, 8], [1, 2]) is None


def _two_groups(first: float, second: float, n: int, m: int) -> tuple[list[float], list[str]]:
    values = [1.0] * round(first * n) + [0.0] * (n - round(first * n))
    values += [1.0] * round(second * m) + [0.0] * (m - round(second * m))
    return values, ["x"] * n + ["y"] * m


def test_worst_group_of_two() -> None:
    values, groups = _two_groups(0.9, 0.5, 100, 100)
    worst = worst_group(values, groups, BOOT)
    assert (worst.group, worst.estimate["value"]) == ("y", 0.5)


def test_worst_group_does_not_depend_on_the_names() -> None:
    values, groups = _two_groups(0.9, 0.5, 100, 100)
    worst = worst_group(values, [{"x": "zz", "y": "a"}[g] for g in groups], BOOT)
    assert worst.estimate["value"] == 0.5


def test_worst_group_has_a_simultaneous_interval() -> None:
    values, groups = _two_groups(0.9, 0.5, 100, 100)
    worst = worst_group(values, groups, BOOT)
    alone = slices(values, groups, BOOT)[1].estimate
    assert worst.estimate["ci_low"] < alone["ci_low"]


def test_a_group_of_three_is_shown_but_cannot_decide() -> None:
    values, groups = _two_groups(0.9, 0.0, 100, 3)
    shown = {row.group: row.eligible for row in slices(values, groups, BOOT)}
    assert shown == {"x": True, "y": False}
    with pytest.raises(NotMeasured, match="fewer than two sources"):
        worst_group(values, groups, BOOT)
    more, names = _two_groups(0.9, 0.8, 100, 100)
    worst = worst_group([*values, *more], [*groups, *(name.upper() for name in names)], BOOT)
    assert worst.group == "Y"


def test_the_worst_group_has_the_smallest_lower_bound_not_the_smallest_value() -> None:
    """0.62 of 1000 is known well; 0.64 of 36 may be far less."""
    values, groups = _two_groups(0.62, 0.64, 1000, 36)
    worst = worst_group(values, groups, BOOT)
    assert worst.group == "y"

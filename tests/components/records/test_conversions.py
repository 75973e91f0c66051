"""CONV-01, 02, 05 and 08 against hand-worked values and their stated invariances."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import RecordError
from components.records import (
    Labelled,
    Pair,
    Scored,
    binary_to_pairs,
    ranking_to_pairs,
    scores_to_pairs,
    votes_to_probability,
)


def scored(*values: float | None, key: str = "x") -> list[Scored]:
    return [Scored(key, f"y{i}", value) for i, value in enumerate(values)]


# --- CONV-01 scores -> pairs


def test_scores_give_sign_and_absolute_difference() -> None:
    """4, 1, 4: y0-y1 = +3 (a wins by 3), y0-y2 = 0 (tie), y1-y2 = -3 (b wins by 3)."""
    pairs = scores_to_pairs(scored(4, 1, 4)).pairs
    assert [(p.a, p.b, p.outcome, p.strength) for p in pairs] == [
        ("y0", "y1", "a", 3),
        ("y0", "y2", "tie", 0),
        ("y1", "y2", "b", 3),
    ]


def test_a_difference_of_delta_is_kept_and_below_it_is_counted() -> None:
    converted = scores_to_pairs(scored(1, 2, 2.5), delta=1.0)
    assert [(p.a, p.b) for p in converted.pairs] == [("y0", "y1"), ("y0", "y2")]
    assert converted.dropped == {"difference below delta": 1}


def test_missing_scores_and_lone_scores_give_no_pair_and_are_counted() -> None:
    converted = scores_to_pairs([*scored(1, None), *scored(2, key="other")])
    assert converted.pairs == []
    assert converted.dropped == {"missing score": 1, "single score": 2}


def test_scores_with_different_keys_are_never_compared() -> None:
    """Another annotator, prompt or attribute is another key."""
    assert scores_to_pairs([*scored(1, 2), *scored(9, 8, key="other")]).dropped == {}
    assert len(scores_to_pairs([*scored(1, 2), *scored(9, 8, key="other")]).pairs) == 2


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=7))
def test_a_monotone_rescaling_keeps_the_outcomes_at_delta_zero(values: list[int]) -> None:
    before = scores_to_pairs(scored(*values)).pairs
    after = scores_to_pairs(scored(*(math.exp(v / 10) for v in values))).pairs
    assert [p.outcome for p in before] == [p.outcome for p in after]


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=7), st.integers(0, 20))
def test_an_affine_rescaling_with_delta_scaled_along_changes_nothing_but_strength(
    values: list[int], delta: int
) -> None:
    before = scores_to_pairs(scored(*values), delta=delta)
    after = scores_to_pairs(scored(*(3 * v - 7 for v in values)), delta=3 * delta)
    assert [(p.a, p.b, p.outcome, 3 * p.strength) for p in before.pairs] == [
        (p.a, p.b, p.outcome, p.strength) for p in after.pairs
    ]
    assert before.dropped == after.dropped


def test_a_non_affine_rescaling_can_change_what_delta_keeps() -> None:
    """Why the invariance above is stated for affine maps only: 0, 1, 2 with delta 1.5, squared, keeps another pair."""
    assert len(scores_to_pairs(scored(0, 1, 2), delta=1.5).pairs) == 1
    assert len(scores_to_pairs(scored(0, 1, 4), delta=1.5).pairs) == 2


def test_a_negative_delta_is_refused() -> None:
    with pytest.raises(RecordError, match="delta"):
        scores_to_pairs([], delta=-1)


# --- CONV-02 ranking -> pairs


def test_a_ranking_with_a_tie_gives_the_pairs_over_tiers() -> None:
    """{a} > {b, c} > {d}: ab ac ad bd cd = 5 pairs of weight 1/5; b against c is no pair."""
    pairs = ranking_to_pairs([["a"], ["b", "c"], ["d"]], "g").pairs
    assert [p.a + p.b for p in pairs] == ["ab", "ac", "ad", "bd", "cd"]
    assert all(p == Pair(p.a, p.b, "a", 0.0, 0.2, "g") for p in pairs)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_the_weights_of_a_ranking_sum_to_one(sizes: list[int]) -> None:
    tiers = [[f"{t}.{i}" for i in range(size)] for t, size in enumerate(sizes)]
    pairs = ranking_to_pairs(tiers, "g").pairs
    total = sum(sizes)
    assert len(pairs) == (total**2 - sum(size**2 for size in sizes)) / 2
    assert math.isclose(sum(p.weight for p in pairs), 1.0)


def test_everything_tied_gives_no_pair_and_is_counted() -> None:
    converted = ranking_to_pairs([["a", "b", "c"]], "g")
    assert (converted.pairs, converted.dropped) == ([], {"ranking all tied": 1})


# --- CONV-05 votes -> p_a


def test_votes_are_smoothed_and_ties_count_half() -> None:
    """2 for a, 1 for b, 1 tie, alpha 1: (2 + 0.5 + 1) / (4 + 2) = 3.5 / 6."""
    share = votes_to_probability(2, 1, 1)
    assert share.p_a == pytest.approx(float(Fraction(7, 12)))
    assert share.n == 4


def test_without_smoothing_it_is_the_vote_share() -> None:
    assert votes_to_probability(3, 1, alpha=0).p_a == 0.75


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_swapping_the_sides_gives_the_complement(a: int, b: int, tie: int) -> None:
    assert votes_to_probability(a, b, tie).p_a + votes_to_probability(b, a, tie).p_a == pytest.approx(1)
    assert votes_to_probability(a, a, tie).p_a == 0.5


def test_many_votes_converge_to_the_share() -> None:
    """Distance to 0.7 is |0.7 n + 1 - 0.7 (n + 2)| / (n + 2) = 0.4 / (n + 2)."""
    for n in (10, 1000, 10**6):
        assert abs(votes_to_probability(0.7 * n, 0.3 * n).p_a - 0.7) == pytest.approx(0.4 / (n + 2))


@pytest.mark.parametrize("counts", [(-1, 2, 0, 1), (0, 0, 0, 0), (1, 1, 0, -1)])
def test_impossible_counts_are_refused(counts: tuple[float, ...]) -> None:
    *counted, alpha = counts
    with pytest.raises(RecordError, match="counts"):
        votes_to_probability(*counted, alpha=alpha)


# --- CONV-08 binary -> pairs


def labels(*values: bool, key: str = "x") -> list[Labelled]:
    return [Labelled(key, f"{key}{i}", value) for i, value in enumerate(values)]


def test_every_good_meets_every_bad_of_the_same_prompt() -> None:
    converted = binary_to_pairs(labels(True, False, True, False))
    assert [(p.a, p.b, p.outcome) for p in converted.pairs] == [
        ("x0", "x1", "a"),
        ("x0", "x3", "a"),
        ("x2", "x1", "a"),
        ("x2", "x3", "a"),
    ]
    assert converted.dropped == {}


def test_what_finds_no_partner_stays_unpaired() -> None:
    """Only good on x, only bad on y: no pair over two prompts (or two annotator kinds)."""
    converted = binary_to_pairs([*labels(True, True), *labels(False, key="y")])
    assert (converted.pairs, converted.dropped) == ([], {"unpaired label": 3})

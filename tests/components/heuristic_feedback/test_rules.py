"""SRC-28: lexicographic comparison with thresholds, silent where nothing is clear."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.heuristic_feedback.rules import RULES, decide, repetition_and_length, thresholds
from components.records.samples import Sample

values = st.tuples(st.floats(-5, 5), st.floats(-5, 5))
limits = st.tuples(st.floats(0, 3), st.floats(0, 3))


def sample(ids: list[int], finish: str = "eos") -> Sample:
    message = {"role": "user", "content": "p"}
    return Sample("k", (message,), 0, "text", tuple(ids), (0.0,) * len(ids), finish, 0, 1)


@given(values, values, limits)
def test_exchanging_the_sides_exchanges_the_outcome(a, b, limit):
    """Antisymmetry, silence included."""
    assert decide(b, a, limit) == {"a": "b", "b": "a", None: None}[decide(a, b, limit)]


@given(values, values)
def test_without_thresholds_the_rule_is_lexicographic_order(a, b):
    assert decide(a, b, (0.0, 0.0)) == ("a" if a > b else "b" if b > a else None)


def test_a_huge_first_threshold_leaves_the_decision_to_the_second_factor():
    assert decide((9.0, 0.0), (0.0, 1.0), (100.0, 0.0)) == "b"
    assert decide((9.0, 0.0), (0.0, 1.0), (0.0, 0.0)) == "a"


def test_a_difference_equal_to_the_threshold_does_not_decide():
    assert decide((1.0,), (0.0,), (1.0,)) is None
    assert decide((1.0,), (0.0,), (0.999,)) == "a"


def test_thresholds_are_population_standard_deviations():
    """Pool 0, 2: mean 1, squared deviations 1 and 1, variance 2 / 2 = 1; times m = 0.5. A constant factor has 0."""
    assert thresholds([(0.0, 7.0), (2.0, 7.0)], 0.5) == (0.5, 0.0)
    assert thresholds([], 1.0) == ()


def test_with_thresholds_the_relation_need_not_be_transitive():
    """The first factor decides only c over a (1.2 > 1); the second says a over b and b over c: a circle."""
    a, b, c, limit = (0.0, 2.0), (0.6, 1.0), (1.2, 0.0), (1.0, 0.0)
    assert [decide(a, b, limit), decide(b, c, limit), decide(c, a, limit)] == ["a", "a", "a"]


def test_repetition_and_length_factors():
    """1 2 3 1 2 3: trigrams 123 231 312 123, 3 of 4 distinct, so 1 - 3/4 = 1/4 is repeated."""
    assert repetition_and_length(sample([1, 2, 3, 1, 2, 3])) == (1.0, -0.25)
    assert repetition_and_length(sample([1, 2, 3, 4], "length")) == (0.0, 0.0)
    assert repetition_and_length(sample([1, 1])) == (1.0, 0.0)


def test_an_ended_completion_beats_a_cut_off_one_even_if_it_repeats_itself():
    ended, cut = repetition_and_length(sample([1] * 9)), repetition_and_length(sample(list(range(9)), "length"))
    assert decide(ended, cut, thresholds([ended, cut], 1.0)) == "a"


@pytest.mark.parametrize("name", RULES)
def test_every_rule_has_a_revision_a_summary_and_a_fixed_number_of_factors(name):
    rule = RULES[name]
    assert rule.revision
    assert rule.summary
    lengths = {len(rule.factors(sample(ids))) for ids in ([], [1], [1, 2, 3, 4])}
    assert len(lengths) == 1

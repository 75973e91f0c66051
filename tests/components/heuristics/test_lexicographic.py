"""SRC-28: lexicographic comparison with thresholds, silent where nothing is clear."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from components.heuristics import Pool
from components.heuristics.rules.lexicographic import decide, ending_and_repetition, repetition_and_length
from components.records.samples import Sample, SamplePair

values = st.tuples(st.floats(-5, 5), st.floats(-5, 5))
limits = st.tuples(st.floats(0, 3), st.floats(0, 3))


def sample(ids: list[int], finish: str = "eos", line: int = 1) -> Sample:
    message = {"role": "user", "content": "p"}
    return Sample("k", (message,), line, "text", tuple(ids), (0.0,) * len(ids), finish, 0, line)


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


def test_the_pool_measures_every_sample_once_with_population_deviations():
    """Factor 0, 2: mean 1, squared deviations 1 and 1, variance 2 / 2 = 1. A constant factor has 0."""
    measured = []

    def factors(one: Sample) -> tuple[float, float]:
        measured.append(one.line)
        return float(len(one.token_ids)), 7.0

    pool = Pool([sample([], line=1), sample([1, 2], line=2)])
    assert pool.measure(factors) == ({1: (0.0, 7.0), 2: (2.0, 7.0)}, (1.0, 0.0))
    assert pool.measure(factors) == pool.measure(factors)
    assert measured == [1, 2]
    assert Pool([]).measure(factors) == ({}, ())


def test_thresholds_are_multiples_of_the_deviations_and_stand_beside_the_decision():
    """Endings 1, 0, 0, 0: mean 1/4, variance 3/16, deviation 0.433. It decides below m = 1 / 0.433 = 2.309."""
    samples = [sample([1, 2], line=1), *[sample([1, 2], "length", line) for line in (2, 3, 4)]]
    pairs, pool = [SamplePair(samples[0], samples[1]), SamplePair(samples[2], samples[3])], Pool(samples)
    (found,) = repetition_and_length(pairs, pool, threshold=2.3)
    assert found.judgments == [{"type": "pairwise", "a": "a", "b": "b", "outcome": "a"}]
    assert (found.samples["a"].line, found.samples["b"].line) == (1, 2)
    assert found.instructions == f"thresholds=[{2.3 * (3 / 16) ** 0.5}, 0.0]"
    assert repetition_and_length(pairs, pool, threshold=2.4) == []


def test_with_thresholds_the_relation_need_not_be_transitive():
    """The first factor decides only c over a (1.2 > 1); the second says a over b and b over c: a circle."""
    a, b, c, limit = (0.0, 2.0), (0.6, 1.0), (1.2, 0.0), (1.0, 0.0)
    assert [decide(a, b, limit), decide(b, c, limit), decide(c, a, limit)] == ["a", "a", "a"]


def test_the_factors_are_ending_and_repetition():
    """1 2 3 1 2 3: trigrams 123 231 312 123, 3 of 4 distinct, so 1 - 3/4 = 1/4 is repeated."""
    assert ending_and_repetition(sample([1, 2, 3, 1, 2, 3])) == (1.0, -0.25)
    assert ending_and_repetition(sample([1, 2, 3, 4], "length")) == (0.0, 0.0)
    assert ending_and_repetition(sample([1, 1])) == (1.0, 0.0)


def test_an_ended_completion_beats_a_cut_off_one_even_if_it_repeats_itself():
    pair = SamplePair(sample([1] * 9, line=1), sample(list(range(9)), "length", line=2))
    (found,) = repetition_and_length([pair], Pool([pair.a, pair.b]))
    assert found.judgments[0]["outcome"] == "a"

"""What every aggregation rule promises, whatever the votes; the rules' own values stand beside them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contract.params import Choice
from components.errors import DataError
from components.votes.ballots import BESIDE, SWAPPED, Decision
from components.votes.table import AGGREGATIONS, AGREEMENTS
from tests.components.votes.cast import Cast

Polls = list[list[Cast]]
RULES = pytest.mark.parametrize("rule", AGGREGATIONS.rows)
REPRODUCIBLE = settings(deadline=None, derandomize=True, database=None, max_examples=60)


def _cast(who: str, outcome: str, p: float | None) -> Cast:
    """`p`: of the side that was chosen."""
    return Cast(who, outcome, p if p is None or outcome == "a" else 1 - p if outcome == "b" else None)


CASTS = st.builds(
    _cast,
    st.sampled_from(["p", "q", "r", "s"]),
    st.sampled_from(["a", "b", "tie", *sorted(BESIDE)]),
    st.one_of(st.none(), st.integers(51, 100).map(lambda n: n / 100)),
)

POLLS = st.lists(st.lists(CASTS, min_size=1, max_size=5), min_size=1, max_size=6)


def decide(rule: str, polls: Polls) -> list[Decision] | None:
    """None where the rule refuses the votes as a whole."""
    try:
        decided: list[Decision] = AGGREGATIONS.bind(Choice(rule))(polls)
    except DataError:
        return None
    return decided


def swapped(polls: Polls) -> Polls:
    return [
        [Cast(c.annotator, SWAPPED.get(c.outcome, c.outcome), None if c.p_a is None else 1 - c.p_a) for c in poll]
        for poll in polls
    ]


def test_rules_and_statistics_read_what_they_are_given() -> None:
    assert {row.needs for row in AGGREGATIONS} == {("polls",)}
    assert {row.needs for row in AGREEMENTS} == {("units",), ("polls",), ("votes",)}


@RULES
def test_no_votes_no_decisions(rule: str) -> None:
    assert decide(rule, []) == []


@RULES
def test_when_all_agree_that_is_the_decision(rule: str) -> None:
    polls = [[Cast(who, said) for who in "pqr"] for said in ("a", "b", "a", "tie", "both_bad")]
    decided = decide(rule, polls)
    assert decided is not None
    assert [decision.outcome for decision in decided] == ["a", "b", "a", "tie", "both_bad"]


@RULES
@REPRODUCIBLE
@given(polls=POLLS)
def test_every_poll_gets_one_decision_whose_probability_fits_its_outcome(rule: str, polls: Polls) -> None:
    decided = decide(rule, polls)
    if decided is None:
        return
    assert len(decided) == len(polls)
    for outcome, p_a in decided:
        if outcome in BESIDE:
            assert p_a is None
        elif p_a is not None:
            assert 0 <= p_a <= 1
            assert (p_a > 0.5, p_a < 0.5) == (outcome == "a", outcome == "b")


@RULES
@REPRODUCIBLE
@given(polls=POLLS)
def test_the_names_of_the_sides_do_not_matter(rule: str, polls: Polls) -> None:
    """They come from the sorting of the texts."""
    one, other = decide(rule, polls), decide(rule, swapped(polls))
    assert (one is None) == (other is None)
    for left, right in zip(one or [], other or [], strict=True):
        assert left.outcome == SWAPPED.get(right.outcome, right.outcome)
        assert left.p_a == (None if right.p_a is None else pytest.approx(1 - right.p_a, abs=1e-6))


@RULES
@REPRODUCIBLE
@given(polls=POLLS)
def test_the_order_of_polls_and_votes_does_not_matter(rule: str, polls: Polls) -> None:
    one, other = decide(rule, polls), decide(rule, [poll[::-1] for poll in polls[::-1]])
    assert (one is None) == (other is None)
    for left, right in zip(one or [], (other or [])[::-1], strict=True):
        assert left.outcome == right.outcome
        assert left.p_a == (None if right.p_a is None else pytest.approx(right.p_a, abs=1e-6))

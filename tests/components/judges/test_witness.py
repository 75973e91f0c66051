"""A judge as a witness: the same questions as a preference model answers, asked in both orders."""

from __future__ import annotations

import pytest

from components.errors import JudgeError
from components.judges.witness import JudgeWitness
from tests.components.judges.stubs import StubJudge, always_first, items, longer


def test_it_says_how_likely_a_is_preferred_whichever_is_shown_first():
    pairs = items(4)
    assert JudgeWitness(StubJudge(longer)).compare(pairs) == [0.0, 1.0, 0.0, 1.0]
    assert JudgeWitness(StubJudge(longer)).compare([pair.swapped() for pair in pairs]) == [1.0, 0.0, 1.0, 0.0]
    assert JudgeWitness(StubJudge(always_first)).compare(pairs) == [0.5] * 4
    assert JudgeWitness(StubJudge(longer)).score([]) is None


def test_explanations_are_the_judges_own():
    judge = StubJudge(longer)
    assert JudgeWitness(judge).explain(items(2)) == ["", ""]
    judge.explains = False
    assert JudgeWitness(judge).explain(items(2)) is None


def test_no_verdict_is_an_error_not_a_guess():
    with pytest.raises(JudgeError, match="no verdict on pair 1"):
        JudgeWitness(StubJudge(lambda item: None if "text 1" in item.a else "a")).compare(items(2))

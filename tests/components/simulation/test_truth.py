"""The known truth as a witness: what is better is certain, what is equal is a tie, and it says why."""

from __future__ import annotations

import pytest

from components.errors import RecordError
from components.judges import PairItem
from components.preference_models import Text, TextPair, Witness
from components.simulation.truth import KnownTruth

ASKED = [{"role": "user", "content": "Is tin a bird? Just yes or no."}]
RIGHT, WRONG = "No.", "Yes."


def test_the_better_answer_is_certainly_preferred() -> None:
    truth: Witness = KnownTruth()
    pairs = [TextPair(ASKED, RIGHT, WRONG), TextPair(ASKED, WRONG, RIGHT), TextPair(ASKED, WRONG, WRONG)]
    assert truth.compare(pairs) == [1.0, 0.0, 0.5]


def test_its_scores_are_the_utility() -> None:
    """No.: content 3. Yes.: no content, one mistake, -.75."""
    assert KnownTruth().score([Text(ASKED, RIGHT), Text(ASKED, WRONG)]) == [3.0, -0.75]


def test_it_says_in_which_terms_the_two_differ() -> None:
    pairs = [TextPair(ASKED, RIGHT, WRONG), TextPair(ASKED, RIGHT, RIGHT)]
    assert KnownTruth().explain(pairs) == ["content +3.00, mistake +0.75", "no difference"]


def test_the_pairs_of_a_judge_are_pairs() -> None:
    assert KnownTruth().compare([PairItem("key", ASKED, RIGHT, WRONG)]) == [1.0]


def test_a_prompt_of_another_world_is_refused() -> None:
    with pytest.raises(RecordError):
        KnownTruth().compare([TextPair([{"role": "user", "content": "Why?"}], "a", "b")])

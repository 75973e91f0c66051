"""What becomes of answers: a judged pair is written once, truly; a grade with its scale."""

from __future__ import annotations

import pytest

from components.contract.params import Choice
from components.errors import ParamsError
from components.judges import SOURCES, Reply, Verdict, combine
from components.judges.contracts.rubric_grade import RubricGrade
from components.judges.sources import both_orders, scores


def settled(first: str | None, second: str | None, **knobs: object):
    verdicts = Verdict(first, "said first", reason="mute"), Verdict(second, "said second")
    return both_orders(combine(*verdicts, "mean_p"), True, **knobs)


def test_a_pair_is_written_in_both_shown_orders_and_once_together():
    """Both verdicts are about the pair's own a and b: P(a) = (1 + 1) / 2."""
    kept = settled("a", "a")
    assert kept.judgments == [
        {"type": "pairwise", "a": "a", "b": "b", "outcome": "a", "shown_order": ["a", "b"]},
        {"type": "pairwise", "a": "a", "b": "b", "outcome": "a", "shown_order": ["b", "a"]},
        {"type": "pairwise", "a": "a", "b": "b", "outcome": "a", "p_a": 1.0, "combined_of": [0, 1]},
        {"type": "rationale", "of": 0, "text": "said first", "author": "judge"},
        {"type": "rationale", "of": 1, "text": "said second", "author": "judge"},
    ]
    assert kept.counts == {"n_undecided": 0, "n_ties": 0}


def test_orders_that_disagree_become_a_tie_and_stay_what_they_were():
    first, second, combined = settled("a", "tie").judgments[:3]
    assert (first["outcome"], second["outcome"], combined["outcome"], combined["p_a"]) == ("a", "tie", "tie", 0.5)


@pytest.mark.parametrize(
    ("first", "second", "knobs", "n_judgments", "counts"),
    [
        ("a", "b", {}, 5, {"n_undecided": 1, "n_ties": 1}),
        ("a", "b", {"inconsistent": "drop"}, 0, {"n_undecided": 1, "n_dropped": 1}),
        ("tie", "tie", {}, 5, {"n_undecided": 0, "n_ties": 1}),
        ("tie", "tie", {"delta": 0.25, "inconsistent": "drop"}, 0, {"n_undecided": 1, "n_dropped": 1}),
        ("b", "b", {"delta": 0.5, "inconsistent": "drop"}, 5, {"n_undecided": 0, "n_ties": 0}),
    ],
)
def test_what_is_undecided_is_a_tie_or_nothing(first, second, knobs, n_judgments, counts):
    """|p_a - 0.5| is 0.5 for two equal verdicts, and 0.5 < 0.5 does not hold."""
    kept = settled(first, second, **knobs)
    assert (len(kept.judgments), kept.counts, kept.why) == (n_judgments, counts, "")
    assert set(kept.counts) <= set(SOURCES["both_orders"].facts["counts"])


def test_a_pair_without_a_verdict_says_why():
    kept = settled(None, "a")
    assert (kept.judgments, kept.why, kept.counts) == ([], "mute", {})


def test_texts_that_explain_nothing_are_no_rationales():
    result = combine(Verdict("a", "utility 3 against 1"), Verdict("a"), "mean_p")
    assert [judgment["type"] for judgment in both_orders(result, False).judgments] == ["pairwise"] * 3


def test_a_grade_is_a_score_with_its_scale_and_the_feedback_a_critique():
    contract = RubricGrade(attribute="politeness")
    kept = scores(Reply(4, "Kind.\n[RESULT] 4"), contract, True)
    assert kept.judgments == [
        {
            "type": "score",
            "cid": "a",
            "attribute": "politeness",
            "value": 4,
            "scale": {"min": 1, "max": 5, "step": 1, "type": "ordinal"},
            "higher_is_better": True,
        },
        {"type": "critique", "cid": "a", "text": "Kind.\n[RESULT] 4"},
    ]
    assert len(scores(Reply(4, "Kind."), contract, False).judgments) == 1
    assert scores(Reply(None, "Hm.", reason="no grade"), contract, True).why == "no grade"


def test_delta_is_a_distance_from_one_half():
    with pytest.raises(ParamsError, match=r"source\.delta: must be >= 0 and <= 0\.5"):
        SOURCES.choose("source", {"name": "both_orders", "delta": 0.6})
    knobs = {"delta": 0.0, "inconsistent": "tie"}
    assert SOURCES.choose("source", {"name": "both_orders"}) == Choice("both_orders", knobs, 1)

"""Trainers see every comparison, label and demonstration once, and a count of what gave none."""

from __future__ import annotations

from typing import Any

import pytest

from components.records import comparisons, demonstrations, labeled, ranked_lists
from tests.components.records.samples import JUDGMENTS, SCALE, both_orders, pair, record


def short(items: list[Any]) -> list[tuple[str, str, float]]:
    return [(item.chosen, item.rejected, item.probability) for item in items]


def score(cid: str, value: float, attribute: str = "help", up: bool = True) -> dict[str, Any]:
    return {"type": "score", "cid": cid, "attribute": attribute, "value": value, "scale": SCALE, "higher_is_better": up}


def binary(value: bool, cid: str = "a") -> dict[str, Any]:
    return {"type": "binary", "cid": cid, "attribute": "help", "value": value}


def test_pairwise_outcomes_become_chosen_and_rejected() -> None:
    found = comparisons([pair("a"), pair("b"), pair("tie"), pair("b", p_a=0.25)])
    assert short(found.items) == [
        ("Blue", "Seven", 1.0),
        ("Seven", "Blue", 1.0),
        ("Blue", "Seven", 0.5),
        ("Seven", "Blue", 0.75),
    ]
    assert [item.tie for item in found.items] == [False, False, True, False]
    assert found.dropped == {}


def test_a_pair_that_was_judged_in_both_orders_counts_once_by_what_they_say_together() -> None:
    found = comparisons([both_orders("a", "a", "a"), both_orders("a", "b", "tie"), both_orders("b", "tie", "b")])
    assert short(found.items) == [("Blue", "Seven", 1.0), ("Blue", "Seven", 0.5), ("Seven", "Blue", 1.0)]
    assert found.dropped == {}
    assert [item.completion for item in demonstrations([both_orders("b", "tie", "b")]).items] == ["Seven"]
    assert len(labeled([both_orders("a", "a", "a")]).items) == 2


def test_a_comparison_carries_where_it_came_from() -> None:
    origin = pair("a", kind="simulated", strength=2, strength_scale=[0, 3])
    origin["quality"]["weight"] = 0.5
    (item,) = comparisons([origin]).items
    assert item.strength == 2.0
    assert (item.margin, item.weight, item.group, item.record_id) == (
        2 / 3,
        0.5,
        origin["record_id"],
        origin["record_id"],
    )
    assert (item.source, item.annotator_kind) == ("test", "simulated")
    assert item.messages == ({"role": "user", "content": "Name a colour."},)


@pytest.mark.parametrize("outcome", ["both_bad", "incomparable", "skip"])
def test_outcomes_without_a_side_are_counted_apart(outcome: str) -> None:
    """Tie, skip, both_bad and incomparable are four different things."""
    found = comparisons([pair(outcome)])
    assert (found.items, found.dropped) == ([], {outcome: 1})


def test_rankings_give_weighted_pairs_of_one_group() -> None:
    ranked = record({"type": "ranking", "tiers": [["c"], ["a", "b"]], "complete": True}, texts=("A", "B", "C"))
    found = comparisons([ranked])
    assert short(found.items) == [("C", "A", 1.0), ("C", "B", 1.0)]
    assert [item.weight for item in found.items] == [0.5, 0.5]
    assert {item.group for item in found.items} == {ranked["record_id"]}


def test_scores_pair_within_and_across_records_of_one_annotator() -> None:
    """One record scores a and b, another of the same annotator scores c; a third annotator's score stays alone."""
    both = record(score("a", 4), score("b", 2), texts=("A", "B"))
    third = record(score("a", 5), texts=("C",))
    other = record(score("a", 1), texts=("D",), annotator={"id": "ann-2", "kind": "human"})
    found = comparisons([both, third, other])
    assert short(found.items) == [("A", "B", 1.0), ("C", "A", 1.0), ("C", "B", 1.0)]
    assert [item.strength for item in found.items] == [2.0, 1.0, 3.0]
    assert [item.margin for item in found.items] == [0.5, 0.25, 0.75]  # of the scale 1..5
    assert found.dropped == {"single score": 1}


def test_lower_is_better_turns_the_sign() -> None:
    assert short(comparisons([record(score("a", 1, up=False), score("b", 3, up=False))]).items) == [
        ("Blue", "Seven", 1.0)
    ]


def test_a_pair_judged_on_two_attributes_counts_once_in_all() -> None:
    judged = record(score("a", 4), score("b", 2), score("a", 1, "honest"), score("b", 3, "honest"))
    found = comparisons([judged])
    assert short(found.items) == [("Blue", "Seven", 1.0), ("Seven", "Blue", 1.0)]
    assert [item.weight for item in found.items] == [0.5, 0.5]


def test_binary_labels_pair_over_records_of_one_prompt_and_kind() -> None:
    good, bad = record(binary(True), texts=("A",)), record(binary(False), texts=("B",))
    elsewhere = record(binary(False), texts=("C",), prompt="Another?")
    found = comparisons([bad, elsewhere, good])
    assert short(found.items) == [("A", "B", 1.0)]
    assert found.dropped == {"unpaired label": 1}


def test_the_first_kind_of_preference_is_used_and_the_others_are_counted() -> None:
    mixed = record(JUDGMENTS["pairwise"], score("a", 1), score("b", 5))
    found = comparisons([mixed])
    assert short(found.items) == [("Blue", "Seven", 0.8)]
    assert found.dropped == {"score beside pairwise": 2}


def test_what_prefers_nothing_and_what_is_not_text_is_counted() -> None:
    image = pair("a")
    image["candidates"][0]["parts"] = [{"type": "image", "uri": "x.png"}]
    found = comparisons([record(JUDGMENTS["span"]), image])
    assert found.items == []
    assert found.dropped == {"no preference (span)": 1, "not text only": 1}


def test_equal_completions_with_different_scores_are_dropped() -> None:
    found = comparisons([record(score("a", 4), score("b", 2), texts=("Same", "Same"))])
    assert (found.items, found.dropped) == ([], {"identical completions": 1})


def test_labels_come_from_binary_judgments_and_from_both_sides_of_a_pair() -> None:
    found = labeled([record(binary(False)), pair("b"), pair("tie"), record(JUDGMENTS["ranking"])])
    assert [(item.completion, item.desirable) for item in found.items] == [
        ("Blue", False),
        ("Seven", True),
        ("Blue", False),
    ]
    assert found.dropped == {"tie": 1, "no label (ranking)": 1}


def test_demonstrations_are_the_preferred_completions_once_each() -> None:
    records = [
        pair("b"),
        pair("b", annotator="ann-2"),
        pair("tie"),
        pair("both_bad"),
        record({"type": "ranking", "tiers": [["a"], ["b"]], "complete": True}, texts=("A", "B")),
        record(binary(True), texts=("D",)),
        record(binary(False), texts=("E",)),
        record(score("a", 5), texts=("F",)),
    ]
    found = demonstrations(records)
    assert [item.completion for item in found.items] == ["Seven", "A", "D"]
    assert found.dropped == {
        "repeated completion": 1,
        "tie": 1,
        "both_bad": 1,
        "undesirable": 1,
        "no preferred completion (score)": 1,
    }


def test_strengths_of_other_scales_are_comparable() -> None:
    """Half of a scale 0..2 is half of a scale 0..10."""
    found = comparisons([pair("a", strength=1, strength_scale=[0, 2]), pair("b", strength=5, strength_scale=[0, 10])])
    assert [(item.margin, item.strength) for item in found.items] == [(0.5, 1.0), (0.5, 5.0)]


def test_rankings_and_decided_pairs_are_lists_best_first() -> None:
    ranked = record({"type": "ranking", "tiers": [["c"], ["a", "b"]], "complete": True}, texts=("A", "B", "C"))
    tied = record({"type": "ranking", "tiers": [["a", "b"]], "complete": True}, texts=("A", "B"))
    found = ranked_lists([ranked, tied, pair("b"), pair("tie"), record(score("a", 3))])
    assert [(item.completions, item.tiers) for item in found.items] == [
        (("C", "A", "B"), (0, 1, 1)),
        (("Seven", "Blue"), (0, 1)),
    ]
    assert found.dropped == {"ranking all tied": 1, "tie": 1, "no order (score)": 1}

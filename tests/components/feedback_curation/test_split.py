"""Splits go by prompt, and label inversion inverts exactly what it says."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.feedback_curation.aggregate import aggregate
from components.feedback_curation.params import Aggregation
from components.feedback_curation.split import flip, split
from components.records import comparisons, prompt_key, prompt_share, shared_prompts, validate
from tests.components.records.samples import JUDGMENTS, pair, record


def many(n: int) -> list[dict[str, Any]]:
    raw = [pair("ab"[i % 2], prompt=f"Q{i}", texts=(f"yes {i}", f"no {i}")) for i in range(n)]
    return aggregate(raw, Aggregation(), "r").records


def test_no_prompt_is_in_two_splits_and_each_record_says_its_own() -> None:
    records = [*many(200), *(pair("b", prompt=f"Q{i}", texts=("x", "y")) for i in range(200))]
    splits = split(records, 0.2, 0.2)
    assert shared_prompts(splits) == []
    assert sum(map(len, splits.values())) == 400
    assert all(len(part) > 20 for part in splits.values())
    assert all(r["provenance"]["split"] == name for name, part in splits.items() for r in part)
    for part in splits.values():
        for each in part:
            validate(each)


def test_a_prompt_falls_where_its_share_says() -> None:
    splits = split(many(100), 0.3, 0.3)
    assert all(prompt_share(r) < 0.3 for r in splits["test"])
    assert all(prompt_share(r) >= 0.6 for r in splits["train"])


def test_all_turns_of_a_dialogue_stay_on_one_side() -> None:
    """A longer turn holds the shorter one's answer: apart, they would leak it."""
    records = []
    for i in range(60):
        turn = [{"role": "user", "content": f"Q{i}"}]
        longer = [*turn, {"role": "assistant", "content": "A"}, {"role": "user", "content": "More"}]
        records += [pair(prompt=turn), pair(prompt=longer)]
    for part in split(records, 0.3, 0.3).values():
        firsts = [r["task"]["messages"][0]["parts"][0]["text"] for r in part]
        assert all(firsts.count(first) == 2 for first in firsts)


def test_half_of_the_labels_are_inverted_exactly() -> None:
    records = many(40)
    before = {prompt_key(r): comparisons([r]).items[0] for r in copy.deepcopy(records)}
    assert flip(records, 0.5, seed=3) == 20
    changed = 0
    for each in records:
        validate(each)
        now, was = comparisons([each]).items[0], before[prompt_key(each)]
        inverted = (now.chosen, now.rejected) == (was.rejected, was.chosen)
        assert now.probability == pytest.approx(was.probability)
        assert inverted == ("label_flip" in each["annotator"]["groups"]) == (each["record_id"] != was.record_id)
        changed += inverted
    assert changed == 20


def test_inversion_is_seeded_and_grows_with_its_share() -> None:
    def flipped(share: float, seed: int) -> set[str]:
        records = many(40)
        flip(records, share, seed)
        return {prompt_key(r) for r in records if "label_flip" in r["annotator"]["groups"]}

    assert flipped(0.25, 1) < flipped(0.5, 1)
    assert flipped(0.25, 1) == flipped(0.25, 1)
    assert flipped(0.25, 1) != flipped(0.25, 2)
    assert flipped(0.0, 1) == set()
    assert len(flipped(1.0, 1)) == 40


def test_twice_inverted_is_the_original() -> None:
    kinds = ("pairwise", "ranking", "score", "binary")
    records = [record(copy.deepcopy(JUDGMENTS[kind])) for kind in kinds]
    before = copy.deepcopy([r["judgments"] for r in records])
    flip(records, 1.0, 0)
    assert [r["judgments"] for r in records] != before
    assert records[1]["judgments"][0]["tiers"] == [["b"], ["a"]]
    assert records[2]["judgments"][0]["value"] == 2  # 1 + 5 - 4
    assert records[3]["judgments"][0]["value"] is False
    for each in records:
        validate(each)
    flip(records, 1.0, 0)
    assert [r["judgments"] for r in records] == before


def test_a_tie_has_no_opposite() -> None:
    records = aggregate([pair("tie"), pair("tie", annotator="q"), pair("a", annotator="r")], Aggregation(), "r").records
    assert flip(records, 1.0, 0) == 0

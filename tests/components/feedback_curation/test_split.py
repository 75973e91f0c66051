"""Splits go by prompt, and label inversion inverts exactly what it says."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from components.contract import Input
from components.contract.record import Record as ArtifactRecord
from components.errors import DataError, ParamsError
from components.feedback_curation.aggregate import aggregate
from components.feedback_curation.params import Aggregation
from components.feedback_curation.split import check_held_out, flip, split
from components.records import Groups, comparisons, prompt_key, shared_prompts, validate
from tests.components.records.samples import JUDGMENTS, pair, record


def many(n: int) -> list[dict[str, Any]]:
    raw = [pair("ab"[i % 2], prompt=f"Q{i}", texts=(f"yes {i}", f"no {i}")) for i in range(n)]
    return aggregate(raw, Aggregation(), "r").records


def test_no_prompt_is_in_two_splits_and_each_record_says_its_own() -> None:
    records = [*many(200), *(pair("b", prompt=f"Q{i}", texts=("x", "y")) for i in range(200))]
    splits, overridden = split(records, 0.2, 0.2)
    assert overridden == {}
    assert shared_prompts(splits) == []
    assert sum(map(len, splits.values())) == 400
    assert all(len(part) > 20 for part in splits.values())
    assert all(r["provenance"]["split"] == name for name, part in splits.items() for r in part)
    for part in splits.values():
        for each in part:
            validate(each)


def test_a_prompt_falls_where_its_share_says() -> None:
    splits, _ = split(many(100), 0.3, 0.3)
    groups = Groups(many(100))
    assert all(groups.share(r) < 0.3 for r in splits["test"])
    assert all(groups.share(r) >= 0.6 for r in splits["train"])


def test_a_declared_split_is_overridden_and_counted() -> None:
    records = many(100)
    for record_ in records:
        record_["provenance"]["split"] = "test"
    splits, overridden = split(records, 0.3, 0.3)
    assert overridden == {f"test -> {name}": len(splits[name]) for name in ("train", "validation")}


def test_an_empty_test_split_is_refused_unless_none_is_asked_for() -> None:
    """One dialogue is one group: it cannot be on two sides."""
    one = [pair(prompt=f"Q{case}") for case in ("", " ", "\n")]
    share = Groups(one).share(one[0])
    with pytest.raises(DataError, match=r"the test split is empty, .*\(got 1 prompts or dialogues, test .*set test: 0"):
        split(one, 0.0, share / 2)
    assert [len(part) for part in split(one, 0.0, 0.0)[0].values()] == [3, 0, 0]


@pytest.mark.parametrize(
    ("component", "port", "used"),
    [
        ("base_model@2", "conversations", True),
        ("base_model@2", "", False),
        ("response_sampling@2", "prompts", True),
        ("response_sampling@2", "dataset", False),
    ],
)
def test_no_step_before_may_have_used_what_is_kept(component: str, port: str, used: bool) -> None:
    """Whatever the depth at which it stands in the lineage of an input."""
    made = {"component": component, "params": {"held_out": 0.2}, "inputs": {port: "x"} if port else {}}
    child = ArtifactRecord("llm_feedback@2", "i", {}, {}, {"feedback": "f"}, lineage={"s": made})
    inputs = [Input("feedback", "feedback", Path("f"), "f", child), Input("policy", "policy", Path("p"), "p")]
    check_held_out(inputs, 0.1 + 0.1)
    if not used:
        check_held_out(inputs, 0.4)
        return
    with pytest.raises(ParamsError, match=r"got held_out 0.2, validation \+ test = 0.4\)"):
        check_held_out(inputs, 0.4)


def test_all_turns_of_a_dialogue_stay_on_one_side() -> None:
    """A longer turn holds the shorter one's answer: apart, they would leak it."""
    records = []
    for i in range(60):
        turn = [{"role": "user", "content": f"Q{i}"}]
        longer = [*turn, {"role": "assistant", "content": "A"}, {"role": "user", "content": "More"}]
        records += [pair(prompt=turn), pair(prompt=longer)]
    for part in split(records, 0.3, 0.3)[0].values():
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

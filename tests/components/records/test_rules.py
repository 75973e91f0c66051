"""Every rule accepts every good record and refuses, by its own name, a record that breaks it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from components.errors import RecordError
from components.records import FLAGS, RULES, flags, record_id, validate
from tests.components.records.samples import JUDGMENTS, SCALE, both_orders, pair, record

Change = Callable[[dict[str, Any]], Any]


def pairwise(**fields: Any) -> dict[str, Any]:
    return {"type": "pairwise", "a": "a", "b": "b", "outcome": "a", **fields}


def judged(kind: str, **fields: Any) -> dict[str, Any]:
    return record({**copy.deepcopy(JUDGMENTS[kind]), **fields})


def changed(path: str, value: Any) -> dict[str, Any]:
    """A good record with one field replaced (and its id recomputed where that is possible)."""
    bad = record()
    *way, last = path.split(".")
    place: Any = bad
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place[key]
    place[last] = value
    if path != "record_id":
        bad["record_id"] = record_id(bad)
    return bad


def without(path: str) -> dict[str, Any]:
    bad = record()
    *way, last = path.split(".")
    place: Any = bad
    for key in way:
        place = place[int(key)] if isinstance(place, list) else place[key]
    del place[last]
    return bad


def doubled_cid() -> dict[str, Any]:
    bad = record(pairwise())
    bad["candidates"].append(copy.deepcopy(bad["candidates"][0]))
    bad["record_id"] = record_id(bad)
    return bad


def media(part: dict[str, Any]) -> dict[str, Any]:
    bad = record()
    bad["candidates"][0]["parts"].append(part)
    bad["record_id"] = record_id(bad)
    return bad


MACHINE = {"id": "judge", "kind": "llm", "revision": "1", "instructions_rev": "2"}

BROKEN: dict[str, list[tuple[dict[str, Any], str]]] = {
    "structure": [
        (without("quality.parse_ok"), "quality.parse_ok"),
        (without("candidates.0.generator"), "candidates[0].generator"),
        (changed("provenance.licence", "MIT"), "provenance.licence"),
        (changed("task.lang", None), "task.lang"),
        (changed("annotator.kind", "robot"), "annotator.kind"),
        (changed("quality.parse_ok", 1), "quality.parse_ok"),
        (judged("score", value=True), "judgments[0].value"),
        (judged("pairwise", shown_order=["a"]), "judgments[0].shown_order"),
        (judged("step", steps=[{"start": 0, "end": 1, "label": True}]), "judgments[0].steps[0].label"),
        (record({"type": "pairwize"}), "judgments[0].type"),
        (record({"type": "binary", "cid": "a", "attribute": "x"}), "judgments[0].value"),
    ],
    "schema_version": [(changed("schema_version", "0.9"), "schema_version")],
    "canonical": [(changed("quality.confidence", 2**60), "record")],
    "record_id_recomputes": [(changed("record_id", "0" * 64), "record_id")],
    "prompt_not_empty": [
        (record(prompt=[]), "task.messages"),
        (record(prompt=" \n"), "task.messages[0]"),
        (record(prompt=[{"role": "user", "content": "x"}, {"role": "system", "content": "y"}]), "task.messages[1]"),
    ],
    "candidate_not_empty": [
        (record(JUDGMENTS["joint"], texts=()), "candidates"),
        (record(texts=("Blue", "\t ")), "candidates[1].parts"),
    ],
    "parts_complete": [(media({"type": "image"}), "candidates[0].parts[1]")],
    "cids_unique": [(doubled_cid(), "candidates")],
    "cids_exist": [
        (record(pairwise(b="c")), "judgments[0]"),
        (judged("ranking", tiers=[["a"], ["z"]], complete=False), "judgments[0]"),
        (judged("critique", cid="z"), "judgments[0]"),
        (judged("trace", cid="z"), "judgments[0]"),
    ],
    "sides_differ": [(record(pairwise(b="a")), "judgments[0]"), (judged("edit", to="a"), "judgments[0]")],
    "shown_order_is_the_pair": [(record(pairwise(shown_order=["a", "a"])), "judgments[0].shown_order")],
    "combined_of_its_orders": [
        (record(pairwise(combined_of=[])), "judgments[0].combined_of"),
        (record(pairwise(combined_of=[0])), "judgments[0].combined_of"),
        (record(pairwise(combined_of=[1])), "judgments[0].combined_of"),
        (record(pairwise(), pairwise(combined_of=[0, 0])), "judgments[1].combined_of"),
        (record(pairwise(), pairwise(combined_of=[-1])), "judgments[1].combined_of"),
        (record(JUDGMENTS["critique"], pairwise(combined_of=[0])), "judgments[1].combined_of"),
        (record(pairwise(criterion="wit"), pairwise(combined_of=[0])), "judgments[1].combined_of"),
        (record(pairwise(b="c"), pairwise(combined_of=[0]), texts=("x", "y", "z")), "judgments[1].combined_of"),
        (record(pairwise(), pairwise(combined_of=[0]), pairwise(combined_of=[1])), "judgments[2].combined_of"),
        (record(pairwise(), pairwise(combined_of=[0], shown_order=["a", "b"])), "judgments[1].shown_order"),
    ],
    "tiers_disjoint": [
        (judged("ranking", tiers=[["a", "b"], ["a"]]), "judgments[0].tiers"),
        (judged("ranking", tiers=[["a", "b"], []]), "judgments[0].tiers"),
    ],
    "complete_ranking_ranks_all": [
        (judged("ranking", tiers=[["a"]]), "judgments[0].complete"),
        (judged("ranking", top_k=3), "judgments[0].top_k"),
    ],
    "tie_has_even_probability": [(record(pairwise(outcome="tie", p_a=0.6)), "judgments[0].p_a")],
    "probability_agrees_with_outcome": [
        (record(pairwise(outcome="b", p_a=0.6)), "judgments[0].p_a"),
        (record(pairwise(outcome="a", p_a=0.5)), "judgments[0].p_a"),
        (record(pairwise(outcome="both_bad", p_a=0.1)), "judgments[0].p_a"),
    ],
    "probabilities_in_range": [
        (record(pairwise(p_a=1.2)), "judgments[0].p_a"),
        (judged("implicit", p=-0.1), "judgments[0].p"),
        (changed("quality.confidence", 1.5), "quality.confidence"),
    ],
    "distribution_sums_to_one": [
        (judged("distribution", probs=[0.5, 0.6]), "judgments[0].probs"),
        (judged("distribution", probs=[1.0]), "judgments[0].probs"),
        (judged("distribution", probs=[1.5, -0.5]), "judgments[0].probs"),
    ],
    "value_within_scale": [
        (judged("score", value=6), "judgments[0].value"),
        (judged("score", scale={**SCALE, "max": 1}), "judgments[0].scale"),
    ],
    "strength_within_scale": [
        (record(pairwise(strength=1)), "judgments[0].strength_scale"),
        (record(pairwise(strength=4, strength_scale=[0, 3])), "judgments[0].strength"),
        (record(pairwise(strength=1, strength_scale=[1, 3])), "judgments[0].strength_scale"),
    ],
    "spans_inside_text": [
        (judged("span", end=5), "judgments[0]"),
        (judged("span", start=2), "judgments[0]"),
        (judged("span", part=1), "judgments[0].part"),
    ],
    "span_labels_declared": [(judged("span", label="rude"), "judgments[0].label")],
    "steps_ordered": [
        (
            judged("step", steps=[{"start": 0, "end": 3, "label": 1}, {"start": 2, "end": 4, "label": 1}]),
            "judgments[0].steps",
        ),
        (judged("step", steps=[{"start": 0, "end": 9, "label": 1}]), "judgments[0].steps"),
    ],
    "identical_candidates_tie": [
        (record(pairwise(), texts=("Same", "Same")), "judgments[0]"),
        (record(copy.deepcopy(JUDGMENTS["ranking"]), texts=("Same", "Same")), "judgments[0]"),
    ],
    "rationale_has_its_judgment": [
        (record(pairwise(), {**JUDGMENTS["rationale"], "of": 1}), "judgments[1].of"),
        (record(pairwise(), {**JUDGMENTS["rationale"], "of": 2}), "judgments[1].of"),
        (judged("critique", pair=["a", "b"]), "judgments[0]"),
    ],
    "has_parsed_judgment": [
        (changed("judgments", []), "judgments"),
        (changed("quality.parse_ok", False), "quality.parse_ok"),
    ],
    "training_weight_positive": [(changed("quality.weight", 0), "quality.weight")],
    "source_and_licence_given": [
        (changed("provenance.source", " "), "provenance.source"),
        (changed("provenance.license", ""), "provenance.license"),
        (changed("annotator.id", ""), "annotator.id"),
    ],
    "created_at_is_iso_8601": [(changed("provenance.created_at", "yesterday"), "provenance.created_at")],
    "machine_annotator_reproducible": [
        (record(annotator={**MACHINE, "revision": ""}), "annotator.revision"),
        (record(annotator={"id": "judge", "kind": "llm", "revision": "1"}), "annotator.instructions_rev"),
    ],
    "machine_generator_named": [
        (changed("candidates.1.generator.revision", ""), "candidates[1].generator.revision"),
    ],
}

GOOD = [
    *(judged(kind) for kind in JUDGMENTS if kind != "rationale"),
    record(pairwise(), JUDGMENTS["rationale"]),
    record(*(copy.deepcopy(JUDGMENTS[kind]) for kind in JUDGMENTS)),
    record(pairwise(outcome="tie")),
    record(pairwise(outcome="tie", p_a=0.5)),
    record(pairwise(outcome="skip"), texts=("Same", "Same")),
    record(pairwise(outcome="tie"), texts=("Same", "Same")),
    record(pairwise(outcome="b", p_a=0.0)),
    record(pairwise(strength=3, strength_scale=[0, 3])),
    record({"type": "ranking", "tiers": [["a", "b"]], "complete": True}, texts=("Same", "Same")),
    record(annotator=MACHINE),
    record(prompt=[{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]),
    record(texts=("\U0001f600!", "b")),
    media({"type": "image", "uri": "file.png"}),
]


def test_every_rule_has_a_test_and_a_sentence() -> None:
    assert list(BROKEN) == list(RULES)
    assert all(rule.__doc__ and rule.__doc__.endswith(".") for rule in [*RULES.values(), *FLAGS.values()])


@pytest.mark.parametrize("good", GOOD)
def test_good_records_pass_every_rule(good: dict[str, Any]) -> None:
    validate(good, span_labels={"wrong"})


@pytest.mark.parametrize(
    ("rule", "bad", "field"), [(rule, bad, field) for rule, cases in BROKEN.items() for bad, field in cases]
)
def test_a_broken_record_is_refused_by_the_rule_it_breaks(rule: str, bad: dict[str, Any], field: str) -> None:
    with pytest.raises(RecordError) as caught:
        validate(bad, span_labels={"wrong"})
    assert (caught.value.rule, caught.value.field) == (rule, field)
    assert "(got " in str(caught.value) or "is missing" in str(caught.value) or "Did you mean" in str(caught.value)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "structure"])
def test_each_rule_alone_finds_its_broken_record(rule: str) -> None:
    """The rule itself fires, not one before it."""
    for bad, field in BROKEN[rule]:
        assert field in [found for found, _ in RULES[rule](bad, {"wrong"})]


def test_span_labels_are_checked_only_where_declared() -> None:
    spans = judged("span", label="rude")
    validate(spans)
    with pytest.raises(RecordError):
        validate(spans, span_labels=())


def test_an_unknown_field_names_the_nearest_known_one() -> None:
    with pytest.raises(RecordError, match="Did you mean 'license'"):
        validate(changed("provenance.licence", "MIT"))


def test_span_offsets_count_code_points_not_bytes() -> None:
    """One emoji is one code point: 0..1 is inside, 0..2 is not."""
    emoji = record({**JUDGMENTS["span"], "end": 1}, texts=("\U0001f600", "b"))
    validate(emoji)
    with pytest.raises(RecordError):
        validate(record({**JUDGMENTS["span"], "end": 2}, texts=("\U0001f600", "b")))


def test_a_truncated_winner_is_flagged_not_refused() -> None:
    cut = pair("b", shown_order=["a", "b"])
    cut["candidates"][1]["truncated"] = True
    cut["record_id"] = record_id(cut)
    validate(cut)
    assert "truncated_preferred" in flags(cut)
    lost = pair("a", shown_order=["a", "b"])
    lost["candidates"][1]["truncated"] = True
    assert "truncated_preferred" not in flags(lost)
    ranked = judged("ranking")
    ranked["candidates"][0]["truncated"] = True
    assert "truncated_preferred" in flags(ranked)


def test_both_orders_and_their_sum_are_one_good_record() -> None:
    """Its shown orders are recorded, in judgments of their own."""
    judged_pair = both_orders("a", "b", "tie")
    validate(judged_pair)
    assert "order_not_recorded" not in flags(judged_pair)


def test_what_a_source_did_not_say_is_flagged() -> None:
    assert flags(pair("a")) == ["order_not_recorded", "generator_unknown"]
    known = pair("a", shown_order=["a", "b"])
    for candidate in known["candidates"]:
        candidate["generator"]["name"] = "model-x"
    assert flags(known) == []

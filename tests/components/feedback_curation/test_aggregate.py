"""Votes become one consensus record per comparison, a new one with its voters as parents."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.contract import build
from components.errors import DataError, ParamsError
from components.feedback_curation.aggregate import aggregate
from components.feedback_curation.params import Aggregation, Params
from components.records import candidate_text, comparisons, validate
from tests.components.records.samples import JUDGMENTS, pair, record


def votes(outcomes: str, **more: Any) -> list[dict[str, Any]]:
    """One record per letter: a, b or t(ie), s(kip), n(either: both_bad)."""
    word = {"a": "a", "b": "b", "t": "tie", "s": "skip", "n": "both_bad"}
    return [pair(word[letter], annotator=f"p{i}", **more) for i, letter in enumerate(outcomes)]


def by(method: str = "majority", **knobs: Any) -> Aggregation:
    return build(Aggregation, {"method": {"name": method, **knobs}}, "aggregation")


def decided(
    records: list[dict[str, Any]], method: str = "majority", **knobs: Any
) -> tuple[str, str | None, float | None]:
    """(outcome, preferred text, p of the preferred text or of side a) of the only consensus."""
    (found,) = aggregate(records, by(method, **knobs), "run").records
    judgment = found["judgments"][0]
    p = judgment.get("p_a")
    if judgment["outcome"] in ("a", "b"):
        text = candidate_text(found, judgment[judgment["outcome"]])
        return "decided", text, p if p is None or judgment["outcome"] == "a" else 1 - p
    return judgment["outcome"], None, p


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("aab", ("decided", "Blue", 3 / 5)),  # (2 + 1) / (3 + 2)
        ("abb", ("decided", "Seven", 3 / 5)),
        ("aat", ("decided", "Blue", 3.5 / 5)),  # (2 + 0.5 + 1) / (3 + 2)
        ("ab", ("tie", None, 0.5)),
        ("at", ("tie", None, 0.5)),
        ("abt", ("tie", None, 0.5)),
        ("att", ("tie", None, 0.5)),
        ("t", ("tie", None, 0.5)),
        ("a", ("decided", "Blue", 2 / 3)),  # (1 + 1) / (1 + 2)
        ("as", ("decided", "Blue", 2 / 3)),
        ("nna", ("both_bad", None, None)),
        ("n", ("both_bad", None, None)),
        ("naa", ("decided", "Blue", 3 / 4)),  # both_bad compares nothing: (2 + 1) / (2 + 2)
    ],
)
def test_majority(outcomes: str, expected: tuple[str, str | None, float | None]) -> None:
    """AGG-01: an even count is a tie, never a draw of lots; P by CONV-05 with alpha 1."""
    for order in set(itertools.permutations(outcomes)):
        outcome, text, p = decided(votes("".join(order)))
        assert (outcome, text) == expected[:2]
        assert p == (None if expected[2] is None else pytest.approx(expected[2]))


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("aab", ("decided", "Blue", 3 / 5)),
        ("att", ("decided", "Blue", 3 / 5)),  # (1 + 2/2 + 1) / (3 + 2): above half, so a
        ("abt", ("tie", None, 0.5)),
        ("nna", ("decided", "Blue", 2 / 3)),  # only the comparing vote counts
        ("nn", ("both_bad", None, None)),
    ],
)
def test_vote_share(outcomes: str, expected: tuple[str, str | None, float | None]) -> None:
    outcome, text, p = decided(votes(outcomes), method="vote_share")
    assert (outcome, text) == expected[:2]
    assert p == (None if expected[2] is None else pytest.approx(expected[2]))


def test_no_smoothing_gives_the_share_itself() -> None:
    assert decided(votes("aaab"), smoothing=0.0) == ("decided", "Blue", 0.75)


def test_a_single_probability_is_kept_as_it_is() -> None:
    assert decided([pair("a", p_a=0.9)])[2] == pytest.approx(0.9)
    assert decided([pair("b", p_a=0.2)], method="vote_share")[2] == pytest.approx(0.8)


def test_vote_share_sums_the_probabilities_that_annotators_gave() -> None:
    """0.6 + 0.1 + one hard a: (1.7 + 1) / (3 + 2) = 0.54; the majority of verdicts says a too, with (2 + 1) / 5."""
    records = [pair("a", p_a=0.6, annotator="p"), pair("b", p_a=0.1, annotator="q"), pair("a", annotator="r")]
    assert decided(records, method="vote_share") == ("decided", "Blue", pytest.approx(0.54))
    assert decided(records) == ("decided", "Blue", pytest.approx(0.6))


def test_the_consensus_is_a_new_record_with_its_voters_as_parents() -> None:
    records = votes("aab")
    before = copy.deepcopy(records)
    (found,) = aggregate(records, Aggregation(), "run-1").records
    validate(found)
    assert records == before
    assert found["record_id"] not in {r["record_id"] for r in records}
    assert found["provenance"]["parents"] == sorted(r["record_id"] for r in records)
    assert (found["provenance"]["run_id"], found["annotator"]["id"]) == ("run-1", "consensus:human")
    shares = dict(zip(found["judgments"][1]["over"], found["judgments"][1]["probs"]))
    winner = found["judgments"][0]["outcome"]
    assert shares[winner] == pytest.approx(2 / 3)
    assert found["judgments"][1]["n"] == 3


def test_votes_with_swapped_sides_are_the_same_comparison() -> None:
    records = [pair("a", annotator="p"), pair("b", texts=("Seven", "Blue"), annotator="q")]
    assert decided(records) == ("decided", "Blue", pytest.approx(3 / 4))


def test_the_result_does_not_depend_on_who_came_first() -> None:
    records = [*votes("abb"), *votes("aa", prompt="Other?")]
    ids = {r["record_id"] for r in aggregate(records, Aggregation(), "r").records}
    assert ids == {r["record_id"] for r in aggregate(records[::-1], Aggregation(), "r").records}


def test_kinds_are_kept_apart_or_counted_together() -> None:
    records = [*votes("aa"), *votes("bbb", kind="llm")]
    apart = aggregate(records, Aggregation(), "r").records
    assert [r["annotator"]["kind"] for r in apart] == ["human", "llm"]
    assert [comparisons([r]).items[0].chosen for r in apart] == ["Blue", "Seven"]
    (together,) = aggregate(records, Aggregation(groups="together"), "r").records
    assert (together["annotator"]["kind"], together["annotator"]["groups"]) == ("heuristic", ["human", "llm"])
    assert comparisons([together]).items[0].chosen == "Seven"


def test_an_annotator_counts_once_per_comparison_and_nobody_in_particular_each_time() -> None:
    """Three votes of one person are one, by the first; without a name they may be three people's."""
    one = [pair("b", annotator="p"), pair("a", annotator="p"), pair("a", annotator="p"), pair("b", annotator="q")]
    found = aggregate(one, Aggregation(), "r")
    assert (dict(found.n_votes), found.left_out["repeated vote of an annotator"]) == ({2: 1}, 2)
    assert found.records[0]["judgments"][0]["outcome"] == "b"
    unnamed = aggregate([pair("a", annotator="unknown") for _ in range(3)], Aggregation(), "r")
    assert (dict(unnamed.n_votes), unnamed.left_out["repeated vote of an annotator"]) == ({3: 1}, 0)


def test_weights_go_by_kind_and_by_source_and_reach_the_trainer() -> None:
    """human 2, source 'test' 0.5: 2 * 0.5 = 1; llm: 1 * 0.5; a vote's own weight multiplies too."""
    weights = {"human": 2.0, "test": 0.5}
    records = [*votes("a"), *votes("a", kind="llm")]
    records[1]["quality"]["weight"] = 0.5
    found = comparisons(aggregate(records, Aggregation(weights=weights), "r").records).items
    assert [item.weight for item in found] == [1.0, 0.25]


def test_a_weight_for_nobody_is_a_mistake() -> None:
    with pytest.raises(ParamsError, match="Did you mean 'human'"):
        aggregate(votes("a"), Aggregation(weights={"humans": 2.0}), "r")


def test_strength_is_the_mean_signed_strength_of_the_votes() -> None:
    """+3, +1 and -1 on [0, 3]: mean 1 for the winner."""
    scale = {"strength_scale": [0, 3]}
    records = [pair("a", annotator=f"p{i}", strength=s, **scale) for i, s in enumerate((3, 1))]
    records.append(pair("b", annotator="q", strength=1, **scale))
    (found,) = aggregate(records, Aggregation(), "r").records
    assert (found["judgments"][0]["strength"], found["judgments"][0]["strength_scale"]) == (1.0, [0, 3])


def test_strengths_on_two_scales_or_against_the_winner_are_left_out() -> None:
    mixed = [
        pair("a", annotator="p", strength=3, strength_scale=[0, 3]),
        pair("a", annotator="q", strength=3, strength_scale=[0, 5]),
    ]
    against = [
        *votes("aa"),
        pair("b", annotator="q", strength=3, strength_scale=[0, 3]),
    ]
    for records in (mixed, against):
        assert "strength" not in aggregate(records, Aggregation(), "r").records[0]["judgments"][0]


def test_only_skips_leave_no_record_but_a_count() -> None:
    found = aggregate(votes("ss"), Aggregation(), "r")
    assert found.records == []
    assert found.left_out["skipped vote"] == 2


def test_every_pair_of_a_record_is_a_comparison_of_its_own() -> None:
    triple = record(
        {"type": "pairwise", "a": "a", "b": "b", "outcome": "a"},
        {"type": "pairwise", "a": "b", "b": "c", "outcome": "tie"},
        texts=("A", "B", "C"),
    )
    found = aggregate([triple], Aggregation(), "r")
    assert len(found.records) == 2
    assert all(len(r["candidates"]) == 2 for r in found.records)


def test_other_judgments_go_on_and_rationales_stay_behind() -> None:
    mixed = record(JUDGMENTS["pairwise"], JUDGMENTS["binary"], JUDGMENTS["rationale"])
    alone = record(JUDGMENTS["span"], prompt="Other?")
    found = aggregate([mixed, alone], Aggregation(), "r")
    kinds = [[j["type"] for j in r["judgments"]] for r in found.records]
    assert kinds == [["pairwise", "distribution"], ["binary"], ["span"]]
    assert found.records[1]["provenance"]["parents"] == [mixed["record_id"]]
    assert found.records[2]["record_id"] == alone["record_id"]
    assert found.left_out["rationale"] == 1


def test_a_shown_order_survives_for_a_single_vote() -> None:
    shown = pair("a", texts=("Seven", "Blue"), shown_order=["b", "a"])
    (found,) = aggregate([shown], Aggregation(), "r").records
    first = found["judgments"][0]["shown_order"][0]
    assert candidate_text(found, first) == "Blue"


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"aggregation": {"method": {"name": "majority", "smoothing": -1.0}}}, "aggregation.method.smoothing"),
        ({"aggregation": {"method": {"name": "mean"}}}, "aggregation.method.name"),
        ({"aggregation": {"weights": {"human": 0}}}, "aggregation.weights.human"),
        ({"validation": 0.6, "test": 0.4}, "validation"),
        ({"label_flip": 2.0}, "label_flip"),
        ({"tokens": {"max_length": 1}}, "tokens.max_length"),
        ({"tokens": {"truncation": "cut"}}, "tokens.truncation"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, Any], field: str) -> None:
    with pytest.raises(ParamsError, match=field):
        build(Params, params, "params.feedback_curation")


VOTE = st.tuples(
    st.sampled_from(["a", "b", "tie", "skip", "both_bad", "incomparable"]),
    st.one_of(st.none(), st.integers(51, 100).map(lambda n: n / 100)),  # P of the side that was chosen
    st.sampled_from(["human", "llm"]),
    st.booleans(),  # sides swapped
)


@settings(deadline=None, derandomize=True, database=None, max_examples=150)
@given(st.lists(VOTE, max_size=6), st.sampled_from(["majority", "vote_share"]), st.sampled_from(["kind", "together"]))
def test_whatever_the_votes_every_consensus_is_valid_and_every_vote_is_in_one(
    cast: list[tuple[str, float | None, str, bool]], method: str, groups: str
) -> None:
    """`aggregate` validates what it makes; the votes behind its records and the skips add up to all votes."""
    records = []
    for i, (outcome, p, kind, swapped) in enumerate(cast):
        more = {} if p is None or outcome not in ("a", "b") else {"p_a": p if outcome == "a" else round(1 - p, 2)}
        texts = ("Seven", "Blue") if swapped else ("Blue", "Seven")
        records.append(pair(outcome, texts=texts, annotator=f"p{i}", kind=kind, **more))
    found = aggregate(records, build(Aggregation, {"method": {"name": method}, "groups": groups}, "p"), "r")
    behind = sum(r["judgments"][1]["n"] for r in found.records)
    assert behind + found.left_out["skipped vote"] == len(cast)


def test_a_rule_sees_every_poll_of_a_group_and_none_of_another() -> None:
    """Two people who contradict each other decide nothing by themselves; a judge's votes do, counted together."""
    records = [*votes("ab"), *votes("aaa", prompt="Other?", kind="llm")]
    records += [pair("a", prompt="Third?", annotator="p0"), pair("a", prompt="Third?", annotator="p2")]
    learnt = {"method": {"name": "dawid_skene"}}
    apart = aggregate(records, build(Aggregation, learnt, "p"), "r").records
    assert [r["annotator"]["kind"] for r in apart] == ["human", "llm", "human"]
    with pytest.raises(DataError, match="dawid_skene"):
        aggregate(records[:2] + records[2:5], build(Aggregation, learnt, "p"), "r")
    together = aggregate(records, build(Aggregation, learnt | {"groups": "together"}, "p"), "r").records
    assert len(together) == 3

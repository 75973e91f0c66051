"""What holds for every measure: its hand-worked case, its interval, its name; rows agree with what is provided."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from components.contract.params import Choice
from components.measures.evidence import PROVIDERS, Answers, Evidence, Testimony
from components.measures.table import MEASURES, NEEDS, OF_REFERENCE, OF_WITNESS, SECTIONS, everything, row_of
from components.measures.take import Results, take
from tests.components.measures.cases import BASIC, CASES

ROWS = list(MEASURES.rows)


def _take(name: str, evidence: Evidence) -> Results:
    return take(evidence, [choice for choice in everything() if choice.name == name])


def test_every_row_has_a_case_and_every_case_a_row() -> None:
    assert set(CASES) == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_the_hand_worked_case(name: str) -> None:
    case = CASES[name]
    results = _take(name, case.evidence)
    assert case.metric in results.metrics, results.missing
    found = results.metrics[case.metric]
    assert found["value"] == pytest.approx(case.value, abs=1e-9)
    assert found["n"] >= 1
    if found["ci_low"] is not None:
        assert found["ci_low"] - 1e-9 <= found["value"] <= found["ci_high"] + 1e-9


@pytest.mark.parametrize("name", ROWS)
def test_a_row_says_where_it_stands_and_asks_for_what_there_is(name: str) -> None:
    row = MEASURES[name]
    assert row.facts["section"] in SECTIONS
    assert row.facts["format"] in ("percent", "number")
    assert set(row.needs) <= set(NEEDS)
    assert row_of(CASES[name].metric) == row
    if "{witness}" in row.facts["metric"]:
        assert set(row.needs) & OF_WITNESS, "it is taken of a witness but asks none"


READ = {"headline", "bar", "baseline", "card", "unit", "beside", "note", "warn", "summary", *MEASURES.facts}


def test_every_fact_of_a_row_is_one_that_the_report_reads() -> None:
    """A misspelt fact would be left out of the page in silence."""
    for row in MEASURES:
        assert set(row.facts) <= READ, row.name
        assert ("card" in row.facts) == ("unit" in row.facts), row.name
        assert row.facts.get("beside", ("accuracy",))[0] in MEASURES.rows, row.name
    orders = [row.facts["headline"][0] for row in MEASURES if "headline" in row.facts]
    assert len(set(orders)) == len(orders)


def test_the_vocabulary_of_needs_is_closed() -> None:
    assert set(PROVIDERS) == set(NEEDS)
    assert set(NEEDS) >= OF_WITNESS | OF_REFERENCE
    used = {need for row in MEASURES for need in row.needs}
    assert used == set(NEEDS), "a need that nobody has"


def _shuffled(evidence: Evidence, order: Sequence[int]) -> Evidence:
    """The same evidence with its prompts in another order."""

    def put(values: Sequence[Any]) -> list[Any]:
        return [values[i] for i in order]

    def say(witness: Testimony) -> Testimony:
        kinds = {what: {k: put(v) for k, v in getattr(witness, what).items()} for what in ("wins", "scores", "judged")}
        return replace(witness, **kinds)

    def answer(answers: Answers) -> Answers:
        return replace(answers, samples=put(answers.samples))

    return replace(
        evidence,
        test=replace(evidence.test, prompts=put(evidence.test.prompts)),
        systems={name: answer(found) for name, found in evidence.systems.items()},
        witnesses=[say(witness) for witness in evidence.witnesses],
        log_ratios={name: put(rows) for name, rows in evidence.log_ratios.items()},
    )


@pytest.mark.parametrize("name", ROWS)
def test_the_order_of_prompts_changes_no_value(name: str) -> None:
    case = CASES[name]
    prompts = len(case.evidence.test.prompts)
    order = random.Random(1).sample(range(prompts), prompts)
    assert order != sorted(order)
    found = _take(name, _shuffled(case.evidence, order)).metrics[case.metric]
    assert found["value"] == pytest.approx(case.value, abs=1e-9)


@pytest.mark.parametrize("name", ROWS)
def test_without_what_it_needs_it_is_missing_and_not_zero(name: str) -> None:
    """A silent witness, no log-probabilities, no comparisons: the metric keeps its name and says why."""
    case = CASES[name]
    empty = replace(
        case.evidence,
        test=replace(case.evidence.test, decided=replace(case.evidence.test.decided, items=[]), train=[]),
        witnesses=[replace(w, missing="nobody asked it") for w in case.evidence.witnesses],
        likelihoods={},
        log_ratios={},
    )
    results = _take(name, empty)
    data_needed = set(MEASURES[name].needs) - {"test", "answers", "reference", "sides", "systems", "bootstrap"}
    assert (case.metric in results.missing) == bool(data_needed)
    assert results.missing.get(case.metric, "x")
    assert not set(results.missing) & set(results.metrics)


def test_a_measure_that_is_not_chosen_is_not_taken() -> None:
    results = take(BASIC, [Choice("win_rate")])
    assert list(results.taken) == ["win_rate.reward_model.vs_reference"]


def test_a_second_witness_and_an_opponent_get_every_metric_of_theirs() -> None:
    """Nothing but the evidence changes: names follow."""
    second = replace(BASIC.witnesses[0], name="panel", label="panel", gives=("wins",))
    champion = replace(BASIC.systems["reference"], name="champion")
    first = replace(BASIC.witnesses[0], wins={**BASIC.witnesses[0].wins, "champion": [1.0, 1.0, 1.0, 0.0]})
    evidence = replace(BASIC, systems={**BASIC.systems, "champion": champion}, witnesses=[first, second])
    results = take(evidence, everything())
    assert results.metrics["win_rate.panel.vs_reference"]["value"] == 2.5 / 4
    assert results.metrics["win_rate.reward_model.vs_champion"]["value"] == 3 / 4
    assert results.missing["win_rate.panel.vs_champion"] == "the panel did not compare the candidate with the champion"
    assert not [name for name in results.taken if name.startswith("panel.")], "it gives no scores and no verdicts"
    assert "length.mean.champion" in results.metrics


def test_a_name_that_no_measure_gives_has_no_row() -> None:
    assert row_of("win_rate.jugde") is None
    assert row_of("length.mean.reference") == MEASURES["length_mean"]

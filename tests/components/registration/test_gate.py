"""The gate's truth table: what passes, and that everything doubtful fails (EVAL-39)."""

from __future__ import annotations

import math
from typing import Any

import pytest

from components.contract.params import build, dump
from components.errors import ParamsError
from components.registration.gate import detectable_effect, failing, gate, to_json
from components.registration.params import Check, Params

ROW = {"value": 0.56, "n": 200, "ci_low": 0.49, "ci_high": 0.63}


def verdict(metrics: dict[str, Any], check: Check, **more: Any) -> dict[str, Any]:
    row = gate(metrics, [check], champion=False, **more)["checks"][0]
    assert isinstance(row, dict)
    return row


@pytest.mark.parametrize(
    ("op", "value", "ok"),
    [
        (">", 0.55, True),
        (">", 0.56, False),
        (">=", 0.56, True),
        (">=", 0.57, False),
        ("<", 0.57, True),
        ("<", 0.56, False),
        ("<=", 0.56, True),
        ("<=", 0.55, False),
    ],
)
def test_operators(op: Any, value: float, ok: bool) -> None:
    row = verdict({"m": ROW}, Check("m", op, value))
    assert (row["ok"], row["got"], row["need"]) == (ok, 0.56, value)


def test_a_bound_of_the_interval_can_refuse_what_the_estimate_would_pass() -> None:
    assert verdict({"m": ROW}, Check("m", ">", 0.5))["ok"]
    low = verdict({"m": ROW}, Check("m", ">", 0.5, use="ci_low"))
    assert (low["ok"], low["got"]) == (False, 0.49)
    assert low["reason"] == "ci_low is 0.49, must be > 0.5"
    assert not verdict({"m": ROW}, Check("m", "<", 0.6, use="ci_high"))["ok"]


@pytest.mark.parametrize(
    ("metrics", "check", "reason"),
    [
        ({}, Check("m", ">", 0.0), "the report has no metric m"),
        ({"m": None}, Check("m", "<", 9.0), "m has no value"),
        ({"m": {**ROW, "ci_low": None}}, Check("m", ">", 0.0, use="ci_low"), "m has no ci_low"),
        ({"m": 0.6}, Check("m", ">", 0.5, use="ci_low"), "m has no interval"),
        ({"m": math.nan}, Check("m", "<", 9.0), "not a finite number"),
        ({"m": math.inf}, Check("m", ">", 0.0), "not a finite number"),
        ({"m": {**ROW, "value": math.nan}}, Check("m", "<", 9.0), "not a finite number"),
        ({"m": "0.9"}, Check("m", ">", 0.0), "not a finite number"),
        ({"m": True}, Check("m", ">", 0.0), "not a finite number"),
        ({"m": ROW}, Check("m", ">", 0.0, min_n=201), "rests on 200 rows, needs at least 201"),
        ({"m": 0.6}, Check("m", ">", 0.0, min_n=1), "rests on an unknown number of rows"),
        ({"m": ROW}, Check("m", ">", vs="b"), "the report has no metric b"),
        ({"m": ROW, "b": math.nan}, Check("m", ">", vs="b"), "value of b is not a finite number"),
        ({"m": 0.6}, Check("m", ">", 0.0, minimum_detectable_effect=0.1), "has no interval"),
        ({"m": ROW}, Check("m", ">", 0.0, minimum_detectable_effect=0.1), "evaluate on more prompts"),
    ],
)
def test_everything_doubtful_fails(metrics: dict[str, Any], check: Check, reason: str) -> None:
    row = verdict(metrics, check)
    assert not row["ok"]
    assert reason in row["reason"]


def test_n_equal_to_the_minimum_is_enough() -> None:
    assert verdict({"m": ROW}, Check("m", ">", 0.0, min_n=200))["ok"]


def test_the_report_says_why_a_metric_is_missing() -> None:
    row = verdict({}, Check("m", ">", 0.0), missing={"m": "use_judge is false"})
    assert row["reason"] == "the report has no metric m (use_judge is false)"


def test_a_metric_that_no_measure_gives_is_a_wrong_name_and_not_missing_data() -> None:
    wrong, lacking = (verdict({}, Check(f"win_rate.{name}", ">", 0.0)) for name in ("jugde", "judge.vs_reference"))
    assert wrong["reason"] == "the report has no metric win_rate.jugde (no measure has this name)"
    assert lacking["reason"] == "the report has no metric win_rate.judge.vs_reference"


def test_against_another_metric_the_value_is_a_margin() -> None:
    metrics = {"accuracy": {**ROW, "ci_low": 0.61}, "baseline": {"value": 0.6, "ci_low": 0.5, "ci_high": 0.7, "n": 9}}
    assert verdict(metrics, Check("accuracy", ">", use="ci_low", vs="baseline"))["need"] == 0.6
    assert verdict(metrics, Check("accuracy", ">", use="ci_low", vs="baseline"))["ok"]
    assert not verdict(metrics, Check("accuracy", ">", 0.02, use="ci_low", vs="baseline"))["ok"]
    # non-inferiority with margin 0.05: the bound may lie up to 0.05 below
    assert verdict(
        {**metrics, "accuracy": {**ROW, "ci_low": 0.56}}, Check("accuracy", ">", -0.05, "ci_low", "baseline")
    )["ok"]


def test_the_detectable_effect_of_785_undecided_verdicts_is_5_points() -> None:
    # EVAL-38 (g): n = (1.960 + 0.842)^2 * 0.25 / 0.05^2 = 785; a 95 % normal interval then has h = 1.96*sqrt(.25/785)
    half = 1.959963984540054 * math.sqrt(0.25 / 785)
    entry = {"value": 0.5, "n": 785, "ci_low": 0.5 - half, "ci_high": 0.5 + half}
    assert detectable_effect(entry) == pytest.approx(0.05, abs=5e-5)
    assert detectable_effect({**entry, "ci_low": None}) is None
    assert detectable_effect(0.5) is None
    assert verdict({"m": entry}, Check("m", ">", 0.4, minimum_detectable_effect=0.0501))["ok"]
    assert not verdict({"m": entry}, Check("m", ">", 0.4, minimum_detectable_effect=0.0499))["ok"]


def test_one_failing_check_refuses_and_is_named() -> None:
    checks = [Check("m", ">", 0.5), Check("m", ">", 0.9, name="excellent"), Check("x", ">", 0.0)]
    decision = gate({"m": ROW}, checks, champion=False)
    assert decision["verdict"] == "refused"
    assert failing(decision) == ["excellent", "x > 0"]
    assert gate({"m": ROW}, checks[:1], champion=False)["verdict"] == "pass"


def test_checks_against_a_champion_wait_for_one_and_then_bind() -> None:
    checks = [Check("m", ">", 0.5), Check("m.vs_champion", ">", 0.5, with_champion=True)]
    first = gate({"m": ROW}, checks, champion=False)
    assert (first["verdict"], first["skipped"]) == ("pass", ["m.vs_champion > 0.5"])
    assert gate({"m": ROW}, checks, champion=True)["verdict"] == "refused"  # missing: not skipped any more
    assert gate({"m": ROW, "m.vs_champion": 0.6}, checks, champion=True)["verdict"] == "pass"


def test_a_gate_that_asks_nothing_passes_nobody() -> None:
    assert gate({"m": ROW}, [], champion=False)["verdict"] == "refused"
    assert gate({"m": ROW}, [Check("m", ">", 0.0, with_champion=True)], champion=False)["verdict"] == "refused"


def test_same_input_same_bytes() -> None:
    metrics = {"m": ROW, "b": 0.5}
    checks = [Check("m", ">", vs="b"), Check("b", "<", 0.6)]
    text = to_json(gate(metrics, checks, champion=False))
    assert text == to_json(gate(dict(reversed(metrics.items())), checks, champion=False))


def test_labels_read_like_the_rule() -> None:
    assert Check("a", ">", 0.5, use="ci_low").label == "a ci_low > 0.5"
    assert Check("a", ">=", -0.01, vs="b").label == "a >= b-0.01"
    assert Check("a", "<", vs="b").label == "a < b"
    assert Check("a", "<", name="short").label == "short"


def test_parameters_survive_a_round_trip_and_the_default_gate_is_sound() -> None:
    assert build(Params, dump(Params()), "registration") == Params()
    Params().check()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gate": []}, "must hold at least one check"),
        ({"name": "a/b"}, "letters, digits"),
        ({"gate": [{"metric": "m", "op": ">"}, {"metric": "m", "op": ">"}]}, "two checks have one name"),
        ({"gate": [{"metric": "m", "op": "=="}]}, "not one of the choices"),
        ({"gate": [{"metric": "m", "op": ">", "use": "ci"}]}, "Did you mean"),
        ({"gate": [{"metric": "m", "op": ">", "min_n": -1}]}, "must not be negative"),
        ({"gate": [{"op": ">"}]}, "metric: is required"),
        ({"compute": {"processes": 2}}, "must be 1"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        build(Params, {**dump(Params()), **changes}, "registration")

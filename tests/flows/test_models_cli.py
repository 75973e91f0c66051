"""`preflow models` on a real MLflow store: what is printed, what is moved, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from components import artifacts
from components.contract.record import Record
from components.registry import Registry
from flows.models_cli import app
from tests.components.registry.conftest import Add, add, database, empty_database, make_policy, registry

__all__ = ["add", "database", "empty_database", "registry"]

RAW, DATASET = "a" * 32 + ".dir", "d" * 32 + ".dir"


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "220")


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def rows(result: Result) -> list[str]:
    return [" ".join(line.replace("│", " ").split()) for line in result.stdout.splitlines()]


@pytest.fixture
def trained(registry: Registry, tmp_path: Path) -> str:
    """A version with a gate and a lineage; returns its content id."""
    policy = make_policy(tmp_path / "policy")
    oid = artifacts.content_id(policy)
    lineage: dict[str, dict[str, Any]] = {
        RAW: {"external": "raw_feedback"},
        DATASET: {"component": "feedback_curation@1", "inputs": {"feedback": [RAW]}, "outputs": {"dataset": DATASET}},
    }
    record = Record(
        "policy_optimization@1", "i" * 32, {}, {"dataset": DATASET, "text": RAW}, {"policy": oid}, {}, lineage
    )
    check = {"ok": False, "name": "win_rate > 0.5", "reason": "value is 0.4, must be > 0.5"}
    gate = {"verdict": "refused", "checks": [check], "skipped": ["beats the champion"]}
    tags = {
        "gate.status": "refused",
        "gate.reason": "gate: win_rate > 0.5",
        "objective.name": "dpo",
        "objective.beta": "0.1",
    }
    files = {"record.json": record.to_json(), "gate.json": json.dumps(gate)}
    registry.register("m", policy, identity="9" * 32, tags=tags, files=files)
    return oid


def test_list_says_so_when_there_is_nothing(database: str) -> None:
    assert "holds no model" in run("list").stdout
    assert json.loads(run("list", "--json").stdout) == []


def test_list_shows_aliases_gate_and_objective(registry: Registry, trained: str, add: Add) -> None:
    add()
    registry.promote("m", 2, by="me", reason="why")
    shown = rows(run("list"))
    assert any(row.startswith("2 champion pass") for row in shown)
    assert any(row.startswith(f"1 refused dpo beta=0.1 {trained[:12]}") for row in shown)
    raw = json.loads(run("list", "m", "--json").stdout)
    assert [(info["version"], info["aliases"], info["gate"]) for info in raw] == [
        (2, ["champion"], "pass"),
        (1, [], "refused"),
    ]


def test_promote_show_roll_back(registry: Registry, add: Add) -> None:
    add(), add()
    assert run("promote", "m", "1", "--reason", "first").stdout == "m: champion none -> 1\n"
    assert "nothing changed" in run("promote", "m", "1", "--reason", "first").stdout
    entry = json.loads(run("promote", "m", "2", "--reason", "better", "--json").stdout)
    assert (entry["from"], entry["to"], entry["reason"]) == (1, 2, "better")
    assert run("rollback", "m", "--reason", "worse after all").stdout == "m: champion 2 -> 1\n"
    champion = registry.champion("m")
    assert champion is not None
    assert champion.version == 1
    history = rows(run("show", "m"))
    assert any("promote: champion none -> 1" in row and "first" in row for row in history)
    assert any("rollback: champion 2 -> 1" in row and "worse after all" in row for row in history)
    assert [entry["action"] for entry in json.loads(run("show", "m", "--json").stdout)] == [
        "promote",
        "promote",
        "rollback",
    ]


def test_a_refused_version_needs_force_and_the_history_says_so(registry: Registry, trained: str) -> None:
    registry.note("m", 1, "refuse", by="registration", reason="gate: win_rate > 0.5")
    refused = run("promote", "m", "1", "--reason", "I like it", code=2)
    assert refused.stderr.startswith("error: m version 1: its gate did not pass (gate: win_rate > 0.5).")
    assert registry.champion("m") is None
    run("promote", "m", "1", "--reason", "I like it", "--force")
    history = rows(run("show", "m"))
    assert any("refuse: version 1 refused, champion stays none" in row for row in history)
    assert any("[forced, gate: refused] I like it" in row for row in history)
    assert any(row.startswith("1 champion refused, overridden") for row in rows(run("list")))


def test_show_a_version_with_its_gate(trained: str) -> None:
    shown = rows(run("show", "m", "1"))
    assert "gate refused (gate: win_rate > 0.5)" in shown
    assert f"policy {trained}" in shown
    assert any("FAIL win_rate > 0.5 value is 0.4, must be > 0.5" in row for row in shown)
    assert any("skip beats the champion" in row for row in shown)
    raw = json.loads(run("show", "m", "1", "--json").stdout)
    assert (raw["content_id"], raw["gate_report"]["verdict"]) == (trained, "refused")


def test_lineage_is_a_tree_down_to_the_raw_feedback(trained: str) -> None:
    lines = run("lineage", "m", "1").stdout.splitlines()
    assert lines[0] == "m version 1"
    depth = {
        text: line.index(text)
        for line in lines
        for text in ("policy_optimization@1", "dataset:", "feedback:")
        if text in line
    }
    assert depth["policy_optimization@1"] < depth["dataset:"] < depth["feedback:"]
    assert "feedback: external raw_feedback  aaaaaaaaaaaa" in lines[3]
    assert "text: external raw_feedback  aaaaaaaaaaaa" in lines[4]
    raw = json.loads(run("lineage", "m", "1", "--json").stdout)
    assert raw["policy"] == trained
    assert set(raw["artifacts"]) == {trained, DATASET, RAW}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("show", "n"), 2, "model n: no such registered model."),
        (("lineage", "n"), 2, "model n: no such registered model."),
        (("rollback", "n", "--reason", "x"), 2, "model n: no such registered model."),
        (("show", "m", "7"), 2, "model m: no version 7. Versions: 1."),
        (("lineage", "m"), 2, "model m: no version is @champion."),
        (("rollback", "m", "--reason", "x"), 2, "no previous champion"),
        (("promote", "m", "1", "--reason", " ", "--force"), 2, "reason: must not be empty."),
    ],
)
def test_mistakes_are_one_line_and_an_exit_code(
    trained: str, arguments: tuple[str, ...], code: int, message: str
) -> None:
    result = run(*arguments, code=code)
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_bad_data_has_the_exit_code_of_bad_data(registry: Registry, trained: str) -> None:
    registry._client.set_registered_model_alias("m", "champion", "1")
    assert "moved outside preflow" in run("lineage", "m", code=3).stderr


def test_a_reason_is_asked_for(trained: str) -> None:
    assert "--reason" in run("promote", "m", "1", code=2).output
    assert "--reason" in run("rollback", "m", code=2).output


def test_help_has_examples_and_imports_no_mlflow() -> None:
    code = "import sys; from flows.models_cli import app; assert not {'mlflow', 'torch', 'prefect'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    for command in ("list", "show", "lineage", "promote", "rollback"):
        assert f"preflow models {command}" in run(command, "--help").stdout

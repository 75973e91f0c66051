"""What a pod's status shows when its step fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from components import errors
from components.contract.termination import LIMIT, leave_message
from components.errors import ParamsError, PreflowError, RecordError
from tests.components.test_cli import ARGS, Cli


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFLOW_TERMINATION_LOG", str(tmp_path / "termination-log"))
    return tmp_path / "termination-log"


@pytest.mark.parametrize(
    ("error", "code"), [("JudgeError", 1), ("ParamsError", 2), ("RecordError", 3), ("RuntimeError", 1)]
)
def test_class_exit_code_and_message_are_written(cli: Cli, project: Path, log: Path, error: str, code: int) -> None:
    (project / "text").write_text("words")
    assert cli(*ARGS, "--set", f"fail={error}").returncode == code
    assert json.loads(log.read_text()) == {
        "error": error,
        "exit_code": code,
        "message": "toy: failed as asked (got fail). Do not ask.",
    }


def test_a_mistake_before_the_step_is_written_too(cli: Cli, log: Path) -> None:
    assert cli("run", "toyy").returncode == 2
    assert json.loads(log.read_text())["error"] == "SpecError"


def test_success_leaves_no_error_and_without_the_variable_nothing_is_written(
    cli: Cli, project: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "text").write_text("words")
    assert cli(*ARGS).returncode == 0
    assert set(json.loads(log.read_text())) == {"memory_bytes"}
    log.unlink()
    monkeypatch.delenv("PREFLOW_TERMINATION_LOG")
    assert cli(*ARGS, "--set", "fail=RecordError").returncode == 3
    assert not log.exists()


@pytest.mark.parametrize("make", [PreflowError, RuntimeError])
def test_a_message_has_at_most_4000_bytes(log: Path, make: Callable[[str], Exception]) -> None:
    leave_message(make('ü"\n' * 5000))
    raw = log.read_bytes()
    assert LIMIT - 400 < len(raw) <= LIMIT or (make is RuntimeError and len(raw) <= LIMIT)
    assert json.loads(raw)["message"].startswith('ü"\n')


def test_a_crash_of_another_process_does_not_hide_the_cause(log: Path) -> None:
    """Under torchrun one rank fails with a mistake, the others then lose their connection to it."""
    leave_message(RuntimeError("connection closed by peer"))
    leave_message(ParamsError("params.x: wrong (got 1). Mend it."))
    leave_message(RuntimeError("connection closed by peer"))
    assert json.loads(log.read_text())["exit_code"] == 2
    leave_message(RecordError("file:3: bad (got x). Mend it."))
    assert json.loads(log.read_text())["exit_code"] == 3


def test_a_message_that_cannot_be_written_is_said_and_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PREFLOW_TERMINATION_LOG", str(tmp_path))
    leave_message(errors.ParamsError("x"))
    assert capsys.readouterr().err.startswith("termination message: not written")

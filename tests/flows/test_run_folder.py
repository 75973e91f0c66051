"""The run page opens without a server, escapes what it shows, and never says `running` about a dead run."""

import json
from pathlib import Path

import pytest

from flows.profile import Profile
from flows.run_folder import RunFolder, StepReport, estimate, mark_interrupted
from flows.runner import read_file
from flows.settings import Settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    settings = Settings("align", "", Profile(), {}, "", False)
    report = settings.output("evaluation", "report")
    report.mkdir(parents=True)
    (report / "report.html").write_text("<p>a report</p>")
    return RunFolder(tmp_path / "runs" / "one", settings, "c0ffee", lambda oid, path, name: read_file(path, name))


def test_the_page_is_there_from_the_start_and_after_every_step(folder: RunFolder) -> None:
    assert "running" in (folder.path / "index.html").read_text()
    folder.add(StepReport("evaluation", "evaluation@1", "done", outputs={"report": "a" * 32}, identity="b" * 32))
    page = (folder.path / "index.html").read_text()
    assert 'href="evaluation-report.html"' in page
    assert (folder.path / "evaluation-report.html").read_text() == "<p>a report</p>"


def test_text_from_outside_is_escaped(folder: RunFolder) -> None:
    folder.end("failed", "<script>alert(1)</script>")
    page = (folder.path / "index.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_page_loads_nothing_from_elsewhere(folder: RunFolder) -> None:
    folder.end("done", "", [("gate", "pass")])
    page = (folder.path / "index.html").read_text()
    assert "http://" not in page
    assert "https://" not in page


def test_a_dead_run_is_marked_interrupted_and_a_live_one_is_not(folder: RunFolder) -> None:
    folder.add(StepReport("evaluation", "evaluation@1", "running"))
    runs = folder.path.parent
    assert mark_interrupted(runs, alive=lambda pid: True) == []
    assert mark_interrupted(runs, alive=lambda pid: False) == ["one"]
    state = json.loads((folder.path / "run.json").read_text())
    assert (state["status"], state["steps"][0]["status"]) == ("interrupted", "interrupted")
    assert "interrupted" in (folder.path / "index.html").read_text()
    assert mark_interrupted(runs, alive=lambda pid: False) == [], "said once"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"value": 0.71234, "n": 500, "ci_low": 0.68, "ci_high": 0.74}, "0.712 [0.680, 0.740] (n = 500)"),
        ({"value": None, "n": 0}, "undefined (n = 0)"),
        (1234567, "1,234,567"),
        (0.123456, "0.1235"),
        ("pass", "pass"),
        (True, "True"),
    ],
)
def test_metrics_are_written_for_people(value, text: str) -> None:
    assert estimate(value) == text

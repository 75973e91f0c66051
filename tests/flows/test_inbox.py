"""Feedback arrives in the inbox once, whole, looked at before, under a name that its content decides."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.errors import ArtifactError, DataError, ParamsError
from components.records.importers import usable_files
from flows import cli
from flows.inbox import Added, add_feedback, reading

GOOD = [{"prompt": f"Question {i}?", "chosen": "yes", "rejected": "no", "id": i} for i in range(3)]


def write(path: Path, rows: list[object] = [*GOOD]) -> Path:  # noqa: B006
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # no project: the defaults
    return tmp_path / "inbox"


def add(file: Path, inbox: Path) -> Added:
    return add_feedback(file, inbox, reading("own"))


def test_adding_twice_changes_nothing(inbox: Path) -> None:
    file = write(inbox.parent / "votes.jsonl")
    first, second = add(file, inbox), add(file, inbox)
    assert (first.path, first.was_there, second.was_there) == (second.path, False, True)
    assert first.path.read_bytes() == file.read_bytes()
    assert len(list(inbox.iterdir())) == 1


def test_the_same_name_with_other_content_is_another_file(inbox: Path) -> None:
    file = inbox.parent / "votes.jsonl"
    for rows in (GOOD, GOOD[:2]):
        add(write(file, [*rows]), inbox)
    assert len(usable_files(inbox).files) == 2


def test_what_was_found_is_said(inbox: Path) -> None:
    rows = [*GOOD, {"prompt": "Same?", "chosen": "x", "rejected": "x"}]
    found = add(write(inbox.parent / "votes.jsonl", [*GOOD] * 10 + rows), inbox).found
    assert found[0] == "format trl, 34 rows: 33 records (33 pairwise), 3 prompts, 1 annotators"
    assert found[1].startswith("1 quarantined: identical_candidates_tie x 1, such as votes.jsonl:34: ")
    assert "left aside: id (33 rows)" in found[2]


def test_a_copy_of_an_editor_gets_a_name_under_which_it_is_read(inbox: Path) -> None:
    add(write(inbox.parent / "Copy of votes - copy.jsonl"), inbox)
    assert len(usable_files(inbox).files) == 1


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("README.md", b"# Read me\n", "cannot read this kind of file"),
        ("x.jsonl", json.dumps(GOOD[0]).encode("utf-16"), "is UTF-16"),
        ("x.jsonl", json.dumps(GOOD).encode(), "one JSON array"),
        ("x.jsonl", b"", "is empty"),
        ("x.jsonl", b'{"a": 1}\n', "not recognised"),
        ("x.jsonl", b'{"prompt": "Hi", "chosen": "x", "rejected": "x"}\n', "1 of 1 lines"),
    ],
)
def test_what_nobody_can_read_is_refused_before_it_is_copied(inbox: Path, name: str, content: bytes, why: str) -> None:
    file = inbox.parent / name
    file.write_bytes(content)
    with pytest.raises(DataError, match=why):
        add(file, inbox)
    assert not inbox.exists()


def test_a_case_that_is_known(inbox: Path, cases_dir: Path) -> None:
    with pytest.raises(DataError, match="is UTF-16, not UTF-8"):
        add(cases_dir / "utf16.jsonl", inbox)


def test_the_parameters_are_those_of_retraining(inbox: Path) -> None:
    """The project's section, the profile over it: here the limit of the one, the kind of annotators of the other."""
    (inbox.parent / "params.yaml").write_text("human_feedback: {limit: 7, annotator: {kind: simulated}}\n")
    assert (reading("own").limit, reading("own").annotator.kind, reading("").annotator.kind) == (
        7,
        "human",
        "simulated",
    )
    (inbox.parent / "params.yaml").write_text("human_feedback: 5\n")
    with pytest.raises(ParamsError, match="must be a mapping"):
        reading("own")


def test_a_missing_file_is_an_error(inbox: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        add(inbox.parent / "nothing", inbox)


def test_a_server_that_was_not_told_is_an_error(tmp_path: Path) -> None:
    """Nothing listens on port 9; the file is in the inbox all the same, and adding it again is no harm.

    In a process of its own: Prefect reads the address once.
    """
    told = subprocess.run(
        [sys.executable, "-c", "from pathlib import Path; from flows.inbox import announce; announce(Path('inbox'))"],
        env={**os.environ, "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert told.returncode != 0
    assert "the file is in inbox, but the Prefect server was not told" in told.stderr


def test_names_are_printed_as_they_are(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`[/x]` is markup to rich, and the end of what was never begun."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    file = write(inbox.parent / "votes.jsonl", [{**row, "prompt": "[/x] and [bold]"} for row in GOOD * 2])
    done = CliRunner().invoke(cli.app, ["add-feedback", str(file), "--inbox", str(inbox)])
    assert done.exit_code == 0, done.output
    assert "[/x] and [bold]" in done.output
    assert "No server is running" in done.output

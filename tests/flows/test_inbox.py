"""Feedback arrives in the inbox once, whole, under a name that its content decides."""

from pathlib import Path

import pytest

from components.errors import ArtifactError
from flows.inbox import add_feedback


def test_adding_twice_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "votes.jsonl"
    file.write_text("{}\n")
    first = add_feedback(file, tmp_path / "inbox")
    assert add_feedback(file, tmp_path / "inbox") == first
    assert first.read_text() == "{}\n"
    assert len(list((tmp_path / "inbox").iterdir())) == 1


def test_the_same_name_with_other_content_is_another_file(tmp_path: Path) -> None:
    file = tmp_path / "votes.jsonl"
    file.write_text("1\n")
    add_feedback(file, tmp_path / "inbox")
    file.write_text("2\n")
    add_feedback(file, tmp_path / "inbox")
    assert sorted(path.read_text() for path in (tmp_path / "inbox").iterdir()) == ["1\n", "2\n"]


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        add_feedback(tmp_path / "nothing", tmp_path / "inbox")

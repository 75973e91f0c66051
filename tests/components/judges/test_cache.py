"""Answers that were paid for: a journal takes them to the next machine, in whole segments."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from components.errors import ArtifactError
from components.judges import cache
from components.judges.cache import AnswerCache


def segments(journal: Path) -> list[list[str]]:
    """The keys in each segment."""
    return [
        [json.loads(line)["key"] for line in path.read_text().splitlines()]
        for path in sorted(journal.glob("answers-*.jsonl"))
    ]


def test_what_a_journal_holds_is_in_the_cache_of_another_machine(tmp_path):
    first = AnswerCache(tmp_path / "here", tmp_path / "work")
    first.put("aa1", {"text": "one"})
    first.put("bb2", {"text": "two"})
    first.flush()
    there = AnswerCache(tmp_path / "there", tmp_path / "work")
    assert (there.get("aa1"), there.get("bb2"), there.get("cc3")) == ({"text": "one"}, {"text": "two"}, None)


def test_segments_never_change_and_hold_every_answer_once(tmp_path):
    """Found ones too, since the next machine may not have them: aa1 comes from the shared cache."""
    AnswerCache(tmp_path / "here").put("aa1", {"text": "old"})
    kept = AnswerCache(tmp_path / "here", tmp_path / "work")
    kept.get("aa1")
    kept.flush()
    before = (tmp_path / "work" / "answers-000000.jsonl").read_bytes()
    kept.put("bb2", {"text": "new"})
    kept.get("aa1")
    kept.flush()
    kept.flush()
    assert segments(tmp_path / "work") == [["aa1"], ["bb2"]]
    assert (tmp_path / "work" / "answers-000000.jsonl").read_bytes() == before
    resumed = AnswerCache(tmp_path / "here", tmp_path / "work")
    resumed.put("cc3", {"text": "later"})
    resumed.flush()
    assert segments(tmp_path / "work") == [["aa1"], ["bb2"], ["cc3"]]


def test_answers_wait_for_one_another_and_are_written_without_a_further_one(tmp_path, monkeypatch):
    """The clock is a timer that the test lets go off: one for both answers, the next for the third."""
    timers: list[Callable[[], None]] = []

    class Timer:
        def __init__(self, seconds: float, then: Callable[[], None]) -> None:
            timers.append(then)

        def start(self) -> None:
            assert self.daemon

    monkeypatch.setattr(cache.threading, "Timer", Timer)
    kept = AnswerCache(tmp_path / "here", tmp_path / "work")
    kept.put("aa1", {})
    kept.put("bb2", {})
    assert (len(timers), segments(tmp_path / "work")) == (1, [])
    timers[0]()
    assert segments(tmp_path / "work") == [["aa1", "bb2"]]
    kept.put("cc3", {})
    assert len(timers) == 2


def test_a_damaged_segment_is_named(tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "answers-000000.jsonl").write_text('{"key": "aa1"}\n')
    with pytest.raises(ArtifactError, match=r"answers-000000\.jsonl: damaged judge answers"):
        AnswerCache(tmp_path / "here", tmp_path / "work")

"""What a process that is killed for its memory leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from components.contract import memory
from components.contract.termination import leave_message
from components.errors import ParamsError

SCRIPT = """
import time
from components.contract.memory import watch_memory
watch_memory(0.05)
block = bytearray(200 << 20)
time.sleep(60)
"""


def test_a_killed_process_has_said_what_it_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "termination"
    env = {**os.environ, "PREFLOW_TERMINATION_LOG": str(note)}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], env=env)
    try:
        while not (note.is_file() and note.read_bytes() and json.loads(note.read_bytes())["memory_bytes"] > 200 << 20):
            assert process.poll() is None
            threading.Event().wait(0.05)
    finally:
        process.kill()
        process.wait()
    assert set(json.loads(note.read_bytes())) == {"memory_bytes"}


def test_it_makes_room_for_an_error_and_never_overwrites_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "termination"
    monkeypatch.setenv("PREFLOW_TERMINATION_LOG", str(note))
    assert memory._note(note, 1)
    leave_message(ParamsError("params.x: WHAT. REMEDY."))
    assert json.loads(note.read_bytes())["exit_code"] == 2
    assert not memory._note(note, 2)
    assert json.loads(note.read_bytes())["exit_code"] == 2


def test_outside_a_container_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFLOW_TERMINATION_LOG", raising=False)
    before = threading.active_count()
    memory.watch_memory()
    assert threading.active_count() == before


def test_the_control_group_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path / "memory.current")
    counted = memory.memory_used()
    assert counted > 10 << 20, "at least this process"
    (tmp_path / "memory.current").write_text("12345\n")
    assert memory.memory_used() == 12345

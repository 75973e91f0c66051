"""A lock holds between threads and processes, and leaves no file."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from components.locks import file_lock

ADD = """
import sys
from pathlib import Path
from components.locks import file_lock
for _ in range(int(sys.argv[2])):
    with file_lock(Path(sys.argv[1]) / "lock"):
        count = Path(sys.argv[1]) / "count"
        number = int(count.read_text()) + 1
        count.write_text("")
        count.write_text(str(number))
"""


def test_processes_take_turns(tmp_path: Path) -> None:
    """Without the lock a reader meets the empty file, or an increment is lost."""
    (tmp_path / "count").write_text("0")
    running = [subprocess.Popen([sys.executable, "-c", ADD, str(tmp_path), "200"]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "600"
    assert [path.name for path in tmp_path.iterdir()] == ["count"]


def test_threads_take_turns(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work(_: int) -> None:
        with file_lock(tmp_path / "deep" / "lock"):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert most == [1]
    assert list((tmp_path / "deep").iterdir()) == []


DIE = """
import os, sys
from pathlib import Path
from components.locks import file_lock
with file_lock(Path(sys.argv[1])):
    os._exit(9)
"""


def test_a_lock_of_a_dead_process_is_free(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", DIE, str(tmp_path / "lock")], check=False).returncode == 9
    assert (tmp_path / "lock").exists()
    with file_lock(tmp_path / "lock"):
        pass
    assert not (tmp_path / "lock").exists()

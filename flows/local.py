"""The `local` runner: one subprocess per step, artifacts as folders of the workspace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.contract.record import Record, load_record
from components.remote import Remote
from flows.cache import Cache
from flows.env import git_commit
from flows.resolver import Artifact
from flows.runner import Emit, Job, LineSink, RunCancelled, StepFailed, read_file
from flows.schedule import Room, cores


class LocalRunner:
    """A subprocess per step, artifacts as folders of the workspace."""

    remote: Remote | None = None

    def __init__(self) -> None:
        self.cache = Cache(Path.cwd())
        self._running: set[subprocess.Popen[str]] = set()
        self._ended = False
        self._lock = threading.Lock()

    def params(self, file: Path) -> str:
        return str(file)

    def reference(self, artifact: Artifact) -> str:
        assert artifact.path is not None
        return str(artifact.path)

    def destination(self, path: Path) -> str:
        return str(path)

    def run(self, job: Job, log_file: Path, emit: Emit, cancelled: Callable[[], bool]) -> None:
        """See `Runner`. Of several steps, in threads of their own, each can be ended by `end` as well."""

        def started(process: subprocess.Popen[str]) -> None:
            with self._lock:
                self._running.add(process)
                if self._ended:
                    raise RunCancelled(f"step {job.step}: not started, since the run is being ended.")

        try:
            run_local(job, log_file, emit, started)
        except StepFailed:
            if self._ended:
                raise RunCancelled(f"step {job.step}: ended with the run. Rerun: it goes on from there.") from None
            raise
        finally:
            with self._lock:
                self._running = {process for process in self._running if process.poll() is None}

    def room(self, at_once: int) -> Room:
        return Room(at_once or cores(), cores())

    def end(self) -> None:
        with self._lock:
            self._ended, running = True, list(self._running)
        for process in running:
            _end(process)

    def rehearse(self, job: Job) -> str:
        return ""

    def record(self, identity: str, paths: dict[str, Path]) -> Record | None:
        return load_record(next(iter(paths.values())))

    def read(self, oid: str, path: Path, name: str) -> bytes | None:
        return read_file(path, name)

    def holds(self, oid: str, record: Record | None) -> bool:
        return False


def run_local(
    job: Job, log_file: Path, emit: Emit, started: Callable[[subprocess.Popen[str]], None] = lambda process: None
) -> None:
    """Run the job in a subprocess. Raises StepFailed. If the driver is interrupted, the step is ended first.

    `started(process)` is told of it; what it raises ends the step, too.
    """
    log_file.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "PREFLOW_PARENT_PID": str(os.getpid()), "PYTHONUNBUFFERED": "1"}
    env.setdefault("PREFLOW_GIT_COMMIT", git_commit())
    if job.threads:
        env["OMP_NUM_THREADS"] = str(job.threads)
    launcher, note = [], log_file.with_suffix(".end.json")
    if job.processes > 1:  # as in a pod; what ends a worker is written to `note`, since torchrun swallows exit codes
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(job.processes)]
        env["PREFLOW_TERMINATION_LOG"] = str(note)
    process = subprocess.Popen(
        [sys.executable, *launcher, *job.argv()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches the driver only, which passes it on below
    )
    try:
        started(process)
        with log_file.open("a", encoding="utf-8", buffering=1) as log:  # a person reads it while it grows
            sink = LineSink(log.write, emit)
            assert process.stdout is not None
            for line in process.stdout:  # universal newlines: a bar's carriage returns end lines too
                sink(line)
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    said = _last_words(note)
    if code != 0:
        raise StepFailed(job.step, int(said.get("exit_code", code)), str(said.get("message", sink.cause)), log_file)


def _last_words(note: Path) -> dict[str, Any]:
    """What a worker wrote down when it failed (components/contract/termination.py)."""
    if not note.is_file():
        return {}
    found: dict[str, Any] = json.loads(note.read_bytes() or b"{}")
    note.unlink()
    return found


def _end(process: subprocess.Popen[str], grace: float = 20.0) -> None:
    """SIGTERM to the step and everything it started, then SIGKILL after the time a checkpoint may take."""
    for signum, wait in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        try:
            os.killpg(process.pid, signum)
            process.wait(wait)
            return
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue

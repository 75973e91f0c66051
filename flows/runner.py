"""The `local` runner: one subprocess per step, its output streamed line by line, signals passed on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.errors import PreflowError
from flows.env import git_commit

_PROGRESS = re.compile(r"\d+%\|")  # a tqdm bar
_PROGRESS_EVERY = 5.0  # seconds between two lines of one bar in the log


@dataclass(frozen=True)
class Job:
    """Everything that is needed to run one step somewhere: the same argv on a laptop and in a pod."""

    step: str
    component: str
    params_file: Path
    inputs: dict[str, list[Path]]
    outputs: dict[str, Path]
    threads: int = 0

    def argv(self) -> list[str]:
        argv = ["-m", "components", "run", self.component, "--params", f"{self.params_file}:{self.step}"]
        for port, paths in self.inputs.items():
            for path in paths:
                argv += ["--in", f"{port}={path}"]
        for port, path in self.outputs.items():
            argv += ["--out", f"{port}={path}"]
        return argv


class StepFailed(PreflowError):
    """A step ended with a non-zero exit code; `exit_code` is the step's own."""

    def __init__(self, step: str, code: int, message: str, log: Path) -> None:
        kind = {2: "user mistake, not retried", 3: "bad data, not retried"}.get(
            code, "crash, retried if retries are left"
        )
        name = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        super().__init__(f"step {step}: failed with {name} ({kind}). {message} Full log: {log}")
        self.exit_code, self.step, self.log = code, step, log

    @property
    def retryable(self) -> bool:
        return self.exit_code not in (2, 3)


def run_local(job: Job, log_file: Path, emit: Callable[[str], None]) -> None:
    """Run the job in a subprocess. Raises StepFailed. If the driver is interrupted, the step is ended first."""
    log_file.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "PREFLOW_PARENT_PID": str(os.getpid()), "PYTHONUNBUFFERED": "1"}
    env.setdefault("PREFLOW_GIT_COMMIT", git_commit())
    if job.threads:
        env["OMP_NUM_THREADS"] = str(job.threads)
    process = subprocess.Popen(
        [sys.executable, *job.argv()],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        text=True,
        errors="replace",
        start_new_session=True,  # Ctrl-C reaches the driver only, which passes it on below
    )
    tail: deque[str] = deque(maxlen=30)
    try:
        with log_file.open("a", encoding="utf-8") as log:
            _stream(process, log.write, emit, tail)
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    if code != 0:
        raise StepFailed(job.step, code, _cause(tail), log_file)


def _stream(
    process: subprocess.Popen[str], write: Callable[[str], object], emit: Callable[[str], None], tail: deque[str]
) -> None:
    assert process.stdout is not None
    shown = 0.0
    for line in process.stdout:  # universal newlines: a bar's carriage returns end lines too
        line = line.rstrip()
        if not line:
            continue
        write(line + "\n")
        if _PROGRESS.search(line):
            if time.monotonic() - shown < _PROGRESS_EVERY and "100%|" not in line:
                continue
            shown = time.monotonic()
        else:
            tail.append(line)
        emit(line)


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


def _cause(tail: deque[str]) -> str:
    """The step's own error line, else the last line it printed."""
    for line in reversed(tail):
        if line.startswith("error: "):
            return line.removeprefix("error: ")
    return f"Last line: {tail[-1]}." if tail else "It printed nothing."

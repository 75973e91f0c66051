"""What a step is to whoever runs it, how a failed one is told, and the `local` runner: one subprocess per step."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from components.contract.record import Record, load_record
from components.errors import PreflowError, UserError
from components.remote import Remote
from flows.cache import Cache
from flows.env import git_commit
from flows.graph import Node
from flows.settings import Settings

_PROGRESS = re.compile(r"\d+%\|")  # a tqdm bar
_PROGRESS_EVERY = 5.0  # seconds between two lines of one bar in the log

Emit = Callable[[str], None]


@dataclass(frozen=True)
class Artifact:
    """An artifact that exists: its content id, where it lies (if it lies on this machine), and which run made it."""

    id: str
    path: Path | None = None
    made_by: str = ""


@dataclass(frozen=True)
class Job:
    """Everything that is needed to run one step somewhere: the same argv on a laptop and in a pod.

    `params` names a YAML file, `inputs` and `outputs` are paths, or `dvc:` references where runner and step share no
    disk. `resources` is what the component's spec asks for, per process.
    """

    step: str
    component: str
    params: str
    inputs: dict[str, list[str]]
    outputs: dict[str, str]
    identity: str = ""
    threads: int = 0
    processes: int = 1
    device: str = "cpu"
    resources: Mapping[str, Any] = field(default_factory=dict)

    def argv(self) -> list[str]:
        argv = ["-m", "components", "run", self.component, "--params", f"{self.params}:{self.step}"]
        for port, references in self.inputs.items():
            for reference in references:
                argv += ["--in", f"{port}={reference}"]
        for port, reference in self.outputs.items():
            argv += ["--out", f"{port}={reference}"]
        return argv


def make_job(
    node: Node, settings: Settings, runner: Runner, params: str, inputs: dict[str, list[str]], wanted: str
) -> Job:
    """What a runner needs to know about a step, from its spec and its parameters."""
    compute = settings.section(node.name, node.spec).get("compute") or {}
    return Job(
        step=node.name,
        component=node.spec.name,
        params=params,
        inputs=inputs,
        outputs={port: runner.destination(settings.output(node.name, port)) for port in node.spec.outputs},
        identity=wanted,
        threads=int(compute.get("threads", 0)),
        processes=int(compute.get("processes", 1)),
        device=str(compute.get("device", "cpu")),
        resources=node.spec.resources,
    )


class StepFailed(PreflowError):
    """A step ended badly; `exit_code` is the step's own, `retryable` whether running it again may help."""

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


class RunCancelled(UserError):
    """The run was cancelled while a step of it ran; the step has been ended."""


class Runner(Protocol):
    """Where steps run, and where what they make is kept."""

    @property
    def cache(self) -> Cache:
        """What has been made already."""

    @property
    def remote(self) -> Remote | None:
        """Where artifacts go, if not into the workspace."""

    def params(self, file: Path) -> str:
        """How a job names this file of parameters."""

    def reference(self, artifact: Artifact) -> str:
        """How a job names one of its inputs."""

    def destination(self, path: Path) -> str:
        """How a job names the place of an output that belongs at `path`."""

    def run(self, job: Job, log_file: Path, emit: Emit, cancelled: Callable[[], bool]) -> None:
        """Run to the end. Raises StepFailed. Whatever else ends this call ends the step first."""

    def rehearse(self, job: Job) -> str:
        """What would be said to this job, without running it; empty if there is nobody to ask."""

    def record(self, identity: str, paths: dict[str, Path]) -> Record | None:
        """What the step that has just run left."""

    def read(self, oid: str, path: Path, name: str) -> bytes | None:
        """One small file of an artifact, or None if it holds no such file."""

    def holds(self, oid: str, record: Record | None) -> bool:
        """Steps can read this artifact by its content id alone (its `record` is kept, so that lineage goes on)."""


def open_runner(settings: Settings) -> Runner:
    """The runner that these settings name. Raises UserError if it cannot work as configured."""
    if settings.runner == "local":
        return LocalRunner()
    from flows.kubernetes.runner import KubernetesRunner

    return KubernetesRunner(settings)


class LocalRunner:
    """A subprocess per step, artifacts as folders of the workspace."""

    remote: Remote | None = None

    def __init__(self) -> None:
        self.cache = Cache(Path.cwd())

    def params(self, file: Path) -> str:
        return str(file)

    def reference(self, artifact: Artifact) -> str:
        assert artifact.path is not None
        return str(artifact.path)

    def destination(self, path: Path) -> str:
        return str(path)

    def run(self, job: Job, log_file: Path, emit: Emit, cancelled: Callable[[], bool]) -> None:
        run_local(job, log_file, emit)

    def rehearse(self, job: Job) -> str:
        return ""

    def record(self, identity: str, paths: dict[str, Path]) -> Record | None:
        return load_record(next(iter(paths.values())))

    def read(self, oid: str, path: Path, name: str) -> bytes | None:
        return read_file(path, name)

    def holds(self, oid: str, record: Record | None) -> bool:
        return False


def read_file(path: Path, name: str) -> bytes | None:
    """`path/name`, or None if that is not a file."""
    return (path / name).read_bytes() if (path / name).is_file() else None


class LineSink:
    """The lines of a step: all of them into its log file, to `emit` without the flood of progress bars."""

    def __init__(self, write: Callable[[str], object], emit: Emit) -> None:
        self._write, self._emit = write, emit
        self.tail: deque[str] = deque(maxlen=30)
        self._shown = float("-inf")

    def __call__(self, line: str) -> None:
        line = line.rstrip()
        if not line:
            return
        self._write(line + "\n")
        if _PROGRESS.search(line):
            if time.monotonic() - self._shown < _PROGRESS_EVERY and "100%|" not in line:
                return
            self._shown = time.monotonic()
        else:
            self.tail.append(line)
        self._emit(line)

    @property
    def cause(self) -> str:
        """The step's own error line, else the last line it printed."""
        for line in reversed(self.tail):
            if line.startswith("error: "):
                return line.removeprefix("error: ")
        return f"Last line: {self.tail[-1]}." if self.tail else "It printed nothing."


def run_local(job: Job, log_file: Path, emit: Emit) -> None:
    """Run the job in a subprocess. Raises StepFailed. If the driver is interrupted, the step is ended first."""
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

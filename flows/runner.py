"""What a step is to whoever runs it, what a runner must do, and how a step that failed is told."""

from __future__ import annotations

import re
import signal
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from components.contract.record import Record
from components.errors import PreflowError, UserError
from components.remote import Remote
from flows.cache import Cache
from flows.graph import Node
from flows.resolver import Artifact
from flows.schedule import Room
from flows.settings import Settings

_PROGRESS = re.compile(r"\d+%\|")  # a tqdm bar
_PROGRESS_EVERY = 5.0  # seconds between two lines of one bar in the log

Emit = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """Everything that is needed to run one step somewhere: the same argv on a laptop and in a pod.

    `params` names a YAML file and `section` what of it to read; `inputs` and `outputs` are paths, or `dvc:` references
    where runner and step share no disk. `resources` is what the component's spec asks for, per process.
    """

    step: str
    component: str
    section: str
    params: str
    inputs: dict[str, list[str]]
    outputs: dict[str, str]
    identity: str = ""
    threads: int = 0
    processes: int = 1
    device: str = "cpu"
    resources: Mapping[str, Any] = field(default_factory=dict)

    def argv(self) -> list[str]:
        argv = ["-m", "components", "run", self.component, "--params", f"{self.params}:{self.section}"]
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
    threads, processes, device = compute_of(settings, node)
    return Job(
        step=node.name,
        component=node.spec.name,
        section=node.section,
        params=params,
        inputs=inputs,
        outputs={port: runner.destination(settings.output(node.name, port)) for port in node.spec.outputs},
        identity=wanted,
        threads=threads,
        processes=processes,
        device=device,
        resources=node.spec.resources,
    )


def compute_of(settings: Settings, node: Node) -> tuple[int, int, str]:
    """(threads of each process, or 0; processes; device) of a step."""
    compute = settings.section(node).get("compute") or {}
    return int(compute.get("threads", 0)), int(compute.get("processes", 1)), str(compute.get("device", "cpu"))


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

    def room(self, at_once: int) -> Room:
        """What may run at the same time, if a person allows so many steps (0: as the runner thinks right)."""

    def end(self) -> None:
        """End every step that runs and let none start: whoever drives them is being ended."""

    def rehearse(self, job: Job) -> str:
        """What would be said to this job, without running it; empty if there is nobody to ask."""

    def record(self, identity: str, paths: dict[str, Path]) -> Record | None:
        """What the step that has just run left."""

    def read(self, oid: str, path: Path, name: str) -> bytes | None:
        """One small file of an artifact, or None if it holds no such file."""

    def holds(self, oid: str, record: Record | None) -> bool:
        """Steps can read this artifact by its content id alone (its `record` is kept, so that lineage goes on)."""


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

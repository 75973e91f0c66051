"""`runs/<id>/`: what a run did, as a folder that a browser opens without any server."""

from __future__ import annotations

import json
import os
import platform
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from components.artifacts import write_text
from components.contract.record import Record
from flows.graph import Node
from flows.settings import Settings

_PAGES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, trim_blocks=True
)
_SHOWN = {"report.html", "card.html", "model_card.md"}  # what of an output a person wants to open


@dataclass(frozen=True)
class StepReport:
    """One line of the run's table."""

    step: str
    component: str
    status: str  # running | done | cached | failed | interrupted
    why: str = ""
    seconds: float = 0.0
    identity: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, node: Node, record: Record, status: str, seconds: float, why: str) -> StepReport:
        return cls(
            step=node.name,
            component=record.component,
            status=status,
            why=why,
            seconds=round(seconds, 2),
            identity=record.identity,
            outputs=record.outputs,
            metrics=record.metrics,
        )


class RunFolder:
    """Rewritten after every step, so that a run that is killed still tells how far it came."""

    def __init__(
        self,
        path: Path,
        settings: Settings,
        commit: str,
        read: Callable[[str, Path, str], bytes | None],
    ) -> None:
        self.path, self.settings, self._read = path, settings, read
        self.steps: dict[str, StepReport] = {}
        self._lock = threading.Lock()  # steps report from threads of their own
        self.facts: dict[str, Any] = {
            "id": path.name,
            "flow": settings.flow,
            "profile": settings.profile_name or "default",
            "raw": settings.raw or "simulated",
            "runner": settings.where,
            "status": "running",
            "started": _now(),
            "ended": "",
            "commit": commit,
            "host": platform.node(),
            "pid": os.getpid(),
            "summary": [],
            "message": "",
        }
        (path / "logs").mkdir(parents=True, exist_ok=True)
        self.write()

    def log(self, step: str) -> Path:
        return self.path / "logs" / f"{step}.log"

    def add(self, report: StepReport) -> None:
        with self._lock:
            self.steps[report.step] = report
            self._copy_pages(report)
            self.write()

    def end(self, status: str, message: str = "", summary: list[tuple[str, str]] | None = None) -> None:
        with self._lock:
            self.facts.update(status=status, ended=_now(), message=message, summary=summary or [])
            self.write()

    def _copy_pages(self, report: StepReport) -> None:
        for port, oid in report.outputs.items():
            for name in sorted(_SHOWN):
                page = self._read(oid, self.settings.output(report.step, port), name)
                if page is not None:
                    (self.path / f"{report.step}-{name}").write_bytes(page)

    def write(self) -> None:
        state = {**self.facts, "steps": [asdict(step) for step in self.steps.values()]}
        write_text(self.path / "run.json", json.dumps(state, indent=1, ensure_ascii=False) + "\n")
        _render(self.path, state)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _render(path: Path, state: dict[str, Any]) -> None:
    pages = sorted(item.name for item in path.iterdir() if item.name.endswith(tuple(_SHOWN)))
    logs = sorted(item.name for item in (path / "logs").glob("*.log"))
    html = _PAGES.get_template("run.html.j2").render(run=state, pages=pages, logs=logs, estimate=estimate)
    write_text(path / "index.html", html)


def estimate(value: Any) -> str:
    """A metric for people: `0.71 [0.68, 0.74] (n = 500)`."""
    if isinstance(value, dict):
        if value.get("value") is None:
            return f"undefined (n = {value.get('n', 0)})"
        text = f"{value['value']:.3f}"
        if value.get("ci_low") is not None:
            text += f" [{value['ci_low']:.3f}, {value['ci_high']:.3f}]"
        return text + (f" (n = {value['n']})" if "n" in value else "")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def mark_interrupted(runs: Path, alive: Any) -> list[str]:
    """Runs whose page says `running` but whose process (host, pid, alive(pid)) is gone are said to be interrupted."""
    marked = []
    for file in sorted(runs.glob("*/run.json")):
        state = json.loads(file.read_text(encoding="utf-8"))
        if state["status"] != "running" or state["host"] != platform.node() or alive(state["pid"]):
            continue
        state.update(status="interrupted", message="The process was killed. Rerun: finished steps are kept.")
        for step in state["steps"]:
            if step["status"] == "running":
                step["status"] = "interrupted"
        write_text(file, json.dumps(state, indent=1, ensure_ascii=False) + "\n")
        _render(file.parent, state)
        marked.append(state["id"])
    return marked

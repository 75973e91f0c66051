"""The beginning and the end of a run: its folder, what Prefect shows, what DVC knows, the table a person reads."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec

import prefect.runtime
from prefect import get_run_logger
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.context import TagsContext
from prefect.states import Cancelled

from components.contract.record import Record
from components.errors import PreflowError
from flows import dvc_sync, env
from flows.run_folder import estimate
from flows.runner import RunCancelled
from flows.settings import Settings
from flows.step import Run

P = ParamSpec("P")


class ConcludedRun(Run):
    """A run that can also say how it ended."""

    def conclude(self, message: str = "") -> dict[str, str]:
        """Tell Prefect, DVC and the run folder; returns the closing table."""
        table = summary(self, message)
        self._tell_prefect(table)
        note = dvc_sync.commit(self.settings, self.graph, self.known.records, self.runner.remote)
        if note:
            get_run_logger().warning(note)
        self.folder.end("done", "", list(table.items()))
        return table

    def headlines(self) -> dict[str, str]:
        """What the reports of this run call worth reading first: label -> value, in their order."""
        lines: dict[str, str] = {}
        for node, port, record in self.done("report"):
            text = self.runner.read(record.outputs[port], self.settings.output(node.name, port), "headlines.json")
            for line in json.loads(text or "[]"):
                if line["metric"] in record.metrics:
                    lines[line["label"]] = estimate(record.metrics[line["metric"]])
        return lines

    def _tell_prefect(self, table: dict[str, str]) -> None:
        create_table_artifact(
            key=f"{_key(self.settings.flow)}-outcome",
            table=[{"what": name.strip(), "value": value} for name, value in table.items()],
            description=f"Outcome of {self.id}",
        )
        self._link(self.folder.path / "index.html", "run-folder")
        for node, _, _ in self.done("report"):
            self._link(self.folder.path / f"{node.name}-report.html", node.name)
        for node, _, record in self.done("dataset"):
            key = f"{_key(self.settings.flow)}-{_key(node.name)}"
            create_markdown_artifact(markdown=_metrics_markdown("Data card", record), key=key)

    def _link(self, page: Path, what: str) -> None:
        if page.is_file():
            page = page.absolute()
            create_link_artifact(
                link=page.as_uri(), link_text=str(page), key=f"{_key(self.settings.flow)}-{_key(what)}"
            )


def _key(name: str) -> str:
    """A name as Prefect allows it in the key of an artifact."""
    return name.replace("_", "-")


def _metrics_markdown(title: str, record: Record) -> str:
    rows = "\n".join(f"| {name} | {estimate(value)} |" for name, value in record.metrics.items())
    ids = ", ".join(f"{port} `{oid}`" for port, oid in record.outputs.items())
    return f"# {title}\n{record.component}: {ids}\n\n| what | value |\n|---|---|\n{rows}\n"


class _ShortErrors(logging.Filter):
    """A deliberate error is a sentence for a person: Prefect's log shows it without the stack of the engine."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], PreflowError):
            record.exc_info, record.exc_text = None, None
        return True


@contextmanager
def open_run(settings: Settings) -> Iterator[ConcludedRun]:
    """A run with its folder; whatever ends it early is written there before it goes on."""
    env.prepare()
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        if not any(isinstance(item, _ShortErrors) for item in logging.getLogger(name).filters):
            logging.getLogger(name).addFilter(_ShortErrors())
    run = ConcludedRun(settings, str(prefect.runtime.flow_run.name or "local"))
    try:
        with TagsContext(
            current_tags=set()
        ):  # the driver's tag marks the flow run; on tasks each tag costs an API call
            yield run
    except RunCancelled as error:
        run.folder.end("cancelled", str(error))
        raise
    except Exception as error:
        run.folder.end("failed", str(error))
        raise
    except BaseException:  # Ctrl-C, SIGTERM, a cancelled run
        run.folder.end("interrupted", "Ended from outside. Rerun: finished steps are kept.")
        raise


def cancellable(body: Callable[P, dict[str, str]]) -> Callable[P, dict[str, str]]:
    """The body of a flow that ends as Cancelled, and not as Failed, when its run was cancelled in the midst of a step.

    Prefect waits for whoever runs the flow to say so, and takes a state that a flow returns as its end.
    """

    @functools.wraps(body)
    def ends(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            return body(*args, **kwargs)
        except RunCancelled as error:
            return Cancelled(message=str(error))

    return ends


def summary(run: ConcludedRun, message: str = "") -> dict[str, str]:
    """The closing table: what a person asks first after a run."""
    table = run.headlines()
    for _, _, record in run.done("decision"):
        table["gate"] = str(record.metrics.get("gate", "unknown"))
        table["registered"] = _registered_version(record)
    if message:
        table["outcome"] = message
    table["cached steps"] = f"{_cached(run)} of {len(run.known.records)}"
    table["run page"] = str(run.folder.path / "index.html")
    return table


def _cached(run: Run) -> int:
    return sum(step.status == "cached" for step in run.folder.steps.values())


def _registered_version(record: Record) -> str:
    from components.registry import Registry

    name: Any = record.params["name"]
    version = Registry().find(record.identity)
    return f"{name} version {version.version}{_aliases(version)}" if version else f"{name}: not registered"


def _aliases(version: Any) -> str:
    return f" ({', '.join(version.aliases)})" if version.aliases else " (no alias)"

"""`preflow selftest`: plant the faults of docs/silent_bugs.md, and show where each is named."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from components.selftest.plant import Outcome, Project, chosen


def examine(names: list[str], console: Console) -> list[Outcome]:
    """Plant the named faults (or all), one after the other, in a folder that is removed.

    Raises ParamsError for an unknown name, UserError if the clean project itself raises a finding.
    """
    faults, outcomes = chosen(names), []
    with (
        tempfile.TemporaryDirectory(prefix="preflow-selftest-") as folder,
        console.status("clean project") as status,
        contextlib.redirect_stderr(io.StringIO()),  # bars of the steps, and what they say of the planted faults
    ):
        project = Project(Path(folder))
        for i, fault in enumerate(faults, start=1):
            status.update(f"{i} of {len(faults)}: {fault.name}")
            outcomes.append(project.plant(fault))
    return outcomes


def show(outcomes: list[Outcome], console: Console, as_json: bool) -> bool:
    """Print the outcomes; returns whether every fault that has a rule was named."""
    if as_json:
        rows = [
            {"fault": one.fault.name, "stage": one.fault.facts["stage"], "by": one.by, "status": one.status}
            for one in outcomes
        ]
        console.print(json.dumps(rows, indent=1, ensure_ascii=False), soft_wrap=True)
    else:
        table = Table(title="selftest", title_justify="left")
        for heading in ("fault", "where", "status", "named by"):
            table.add_column(heading, overflow="fold")
        for one in outcomes:
            table.add_row(one.fault.name, one.fault.facts["stage"], one.status, one.fault.facts["rule"])
        console.print(table)
        counts = {status: sum(one.status == status for one in outcomes) for status in ("named", "gap", "missed")}
        console.print(
            f"{counts['named']} of {len(outcomes)} faults are named before the first optimizer step, "
            f"{counts['gap']} are known gaps, {counts['missed']} were missed."
        )
    return all(one.status != "missed" for one in outcomes)

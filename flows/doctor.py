"""`preflow doctor`: is this machine and this project in a state in which runs work? Each finding has a remedy."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from rich.console import Console
from rich.text import Text

from components.contract.run import home
from flows import env


@dataclass(frozen=True)
class Finding:
    """`level` is ok, warn or bad; only bad makes `preflow doctor` exit with 2."""

    level: str
    what: str
    remedy: str = ""


def python_version() -> Iterator[Finding]:
    """Python is one that the proven set was run with."""
    version = ".".join(map(str, sys.version_info[:3]))
    fine = sys.version_info >= (3, 11)
    yield Finding("ok" if fine else "bad", f"Python {version}", "" if fine else "Use Python 3.11 or newer.")


def packages() -> Iterator[Finding]:
    """Installed versions lie within the bounds preflow declares (an unpinned Prefect breaks at run time)."""
    outside = []
    for text in importlib.metadata.requires("preflow") or []:
        requirement = Requirement(text)
        if requirement.marker is not None:
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            found = "nothing"
        if found == "nothing" or not requirement.specifier.contains(found, prereleases=True):
            outside.append(f"{requirement.name} {found} (need {requirement.specifier})")
    if outside:
        yield Finding("bad", "packages: " + ", ".join(outside), "pip install -c constraints.txt -e .")
    else:
        yield Finding("ok", "packages are within the proven bounds")


def project() -> Iterator[Finding]:
    """The current folder is a preflow project."""
    for name in ("params.yaml", "dvc.yaml"):
        there = Path(name).is_file()
        yield Finding(
            "ok" if there else "bad", f"{name} {'found' if there else 'is not here'}", "" if there else "cd to it."
        )
    if not Path(".dvc").is_dir():
        yield Finding("warn", "not a DVC repository: outputs are kept, but `dvc repro` will not work", "dvc init")
    elif not Path(".git").exists():
        yield Finding("warn", "no git here: DVC needs it", "git init, or dvc config core.no_scm true")


def disk() -> Iterator[Finding]:
    """There is room for artifacts."""
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Finding(
        "ok" if free > 5 else "warn", f"{free:.0f} GiB of disk are free", "" if free > 5 else "Run `dvc gc -w`."
    )


def telemetry() -> Iterator[Finding]:
    """Nothing that preflow starts calls home."""
    on = [key for key in ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY") if os.environ.get(key, "").lower() != "true"]
    yield Finding(
        "warn" if on else "ok",
        f"telemetry is {'not off: ' + ', '.join(on) if on else 'off'}",
        "export DO_NOT_TRACK=true",
    )


def compute() -> Iterator[Finding]:
    """How many cores there are, and whether torch sees an accelerator."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    yield Finding("ok", f"{os.cpu_count()} cores, {device}, torch {torch.__version__}")


def real_data() -> Iterator[Finding]:
    """The optional folder of real preference data."""
    folder = env.data_dir()
    if folder.is_dir():
        yield Finding("ok", f"real data in {folder}")
    else:
        yield Finding("ok", f"no real data in {folder} (optional: set PREFLOW_DATA_DIR; the quickstart needs none)")


def stores() -> Iterator[Finding]:
    """The registry answers."""
    from components.registry import Registry

    Registry().names()
    yield Finding("ok", f"model registry {os.environ['MLFLOW_TRACKING_URI'].split('@')[-1]}")


def stale() -> Iterator[Finding]:
    """Nothing half-done was left behind by a killed run (it is cleaned up when its step runs again)."""
    left = [path for folder in ("artifacts",) for path in Path(folder).glob("*/*/*.tmp-*")]
    checkpoints = list((home() / "work").glob("*/*"))
    if left or checkpoints:
        what = f"{len(left)} unfinished outputs, {len(checkpoints)} files of interrupted steps"
        yield Finding("warn", what, "Rerun the flow: it resumes from them.")


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    python_version,
    packages,
    project,
    disk,
    telemetry,
    compute,
    real_data,
    stores,
    stale,
)


def show(findings: Iterable[Finding], console: Console) -> bool:
    """Print findings as they come; whether all is well enough."""
    marks = {"ok": Text("ok  ", "green"), "warn": Text("warn", "yellow"), "bad": Text("bad ", "red")}
    bad = False
    for finding in findings:
        console.print(marks[finding.level], end=" ")
        console.print(finding.what, markup=False, end="")
        console.print(
            f"  {finding.remedy}" if finding.remedy and finding.level != "ok" else "", markup=False, style="dim"
        )
        bad = bad or finding.level == "bad"
    return not bad


def examine() -> Iterator[Finding]:
    """Every check in turn; a check that breaks is itself a finding."""
    for check in CHECKS:
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001  (doctor reports what is broken instead of breaking)
            yield Finding(
                "bad", f"{check.__name__.replace('_', ' ')}: {type(error).__name__}: {error}", "See the message."
            )

"""A small preflow project in a temporary folder: the repository's own graph and parameters, scaled down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from components.contract.params import merge
from flows.catalogue import FLOWS

REPO = Path(__file__).parents[2]


def make_project(folder: Path, *, tiny: bool = True) -> Path:
    """A git and DVC repository with every dvc.yaml, and params.yaml (by default with the `tiny` profile over it)."""
    folder.mkdir(parents=True)
    params = yaml.safe_load((REPO / "params.yaml").read_text())
    if tiny:
        overlay = yaml.safe_load((REPO / "flows/profiles/tiny.yaml").read_text())["params"]
        params |= {section: merge(None, params[section], values) for section, values in overlay.items()}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    for pipeline in filter(None, (flow.pipeline for flow in FLOWS.values())):
        (folder / pipeline).parent.mkdir(parents=True, exist_ok=True)
        (folder / pipeline).write_text((REPO / pipeline).read_text())
    for spec in (REPO / "components").glob("*/component.yaml"):
        copy = folder / "components" / spec.parent.name / spec.name
        copy.parent.mkdir(parents=True)
        copy.write_text(spec.read_text())
    (folder / ".gitignore").write_text("artifacts/\nruns/\n.preflow/\n")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text((REPO / ".dvc" / "config").read_text())
    return folder


def environment(project: Path) -> dict[str, str]:
    """As a user's shell in that folder: its own stores, this Python first on the path."""
    drop = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_HOME", "MLFLOW_TRACKING_URI", "PREFLOW_HOME")
    env = {key: value for key, value in os.environ.items() if key not in drop}
    # `-P`: `python -m components` must find the installed package, not the folder of specs in the project
    return {**env, "PATH": f"{Path(sys.executable).parent}:{env['PATH']}", "PYTHONSAFEPATH": "1", "COLUMNS": "160"}


def preflow(
    project: Path, *arguments: str, check: bool = True, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `preflow ...` in a project."""
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", *arguments],
        cwd=project,
        env={**environment(project), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def planned(project: Path, *arguments: str) -> dict[str, str]:
    """What `preflow plan ...` says of each step: cached, runs or depends."""
    rows = [line.split("│") for line in preflow(project, "plan", *arguments).stdout.splitlines() if "│" in line]
    return {cells[1].strip(): cells[2].strip() for cells in rows if cells[1].strip()}


def dvc(project: Path, *arguments: str) -> str:
    """Run `dvc ...` in a project; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env=environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"dvc {arguments}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def output_ids(project: Path, workspace: str = "align") -> dict[str, str]:
    """Content id of every output, as the records beside them say."""
    ids = {}
    for file in sorted((project / "artifacts" / workspace).glob("*/*.record.json")):
        record = json.loads(file.read_text())
        ids.update({f"{file.parent.name}.{port}": oid for port, oid in record["outputs"].items()})
    return ids


def last_run(project: Path) -> dict[str, object]:
    """run.json of the newest run."""
    state: dict[str, object] = json.loads(max((project / "runs").glob("*/run.json")).read_text())
    return state

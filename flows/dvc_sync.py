"""After a flow: let DVC know, so that `dvc repro` finds nothing to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from components.contract.record import Record
from flows.settings import Settings


def commit(settings: Settings, records: dict[str, Record]) -> str:
    """Write dvc.lock for the stages that this run has made; returns a note when that could not be done.

    Only the default profile of `align` with params.yaml as it stands is the graph of dvc.yaml; any other run leaves
    DVC alone.
    """
    if settings.flow != "align" or settings.profile_name or settings.overridden:
        return ""
    if not Path(".dvc").is_dir() or not Path("dvc.yaml").is_file() or _lock_agrees(settings, records):
        return ""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            repo.commit(force=True)
    except DvcException as error:
        return f"DVC: dvc.lock was not updated ({error}). Run `dvc commit -f` by hand."
    return ""


def _lock_agrees(settings: Settings, records: dict[str, Record]) -> bool:
    """dvc.lock already holds these outputs, inputs and parameters."""
    lock = Path("dvc.lock")
    if not lock.is_file():
        return False
    stages = yaml.safe_load(lock.read_text(encoding="utf-8")).get("stages", {})
    return all(
        step in stages and _stage_agrees(stages[step], step, settings, record) for step, record in records.items()
    )


def _stage_agrees(stage: dict[str, Any], step: str, settings: Settings, record: Record) -> bool:
    outs = {entry["path"]: entry["md5"] for entry in stage.get("outs", [])}
    wanted = {str(settings.output(step, port)): oid for port, oid in record.outputs.items()}
    deps = {entry["md5"] for entry in stage.get("deps", [])}
    inputs = {oid for ids in record.inputs.values() for oid in ([ids] if isinstance(ids, str) else ids)}
    params = stage.get("params", {}).get("params.yaml", {}).get(step)
    return (
        all(outs.get(path) == oid for path, oid in wanted.items())
        and inputs <= deps
        and params == settings.params[step]
    )

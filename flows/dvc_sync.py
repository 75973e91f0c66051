"""After a flow: let DVC know, so that `dvc repro` finds nothing to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from components.contract.record import Record
from components.remote import Remote
from flows.settings import Settings


def commit(settings: Settings, records: dict[str, Record], remote: Remote | None = None) -> str:
    """Write dvc.lock for the stages that this run has made; returns a note when that could not be done.

    Only the default profile of `align` with params.yaml as it stands is the graph of dvc.yaml; any other run leaves
    DVC alone. Outputs that lie in the `remote` only are written down by their ids: `dvc pull` brings them.
    """
    if settings.flow != "align" or settings.profile_name or settings.overridden:
        return ""
    if not Path(".dvc").is_dir() or not Path("dvc.yaml").is_file() or _lock_agrees(settings, records):
        return ""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            if remote is None:
                repo.commit(force=True)
            else:
                _write_ids(repo, settings, records, remote)
    except (DvcException, OSError) as error:  # a read-only project folder, as in a pod, among others
        return f"DVC: dvc.lock was not updated ({error}). Run `dvc commit -f` by hand."
    return ""


def _write_ids(repo: Any, settings: Settings, records: dict[str, Record], remote: Remote) -> None:
    """dvc.lock as `dvc commit` would write it, without the data being here."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta

    ids = {
        str(settings.output(step, port)): oid
        for step, record in records.items()
        for port, oid in record.outputs.items()
    }
    sizes = {oid: remote.size(oid) for oid in set(ids.values())}
    with repo.lock:
        for stage in [stage for stage in repo.index.stages if getattr(stage, "name", "") in records]:
            for item in [*stage.deps, *stage.outs]:
                oid = ids.get(item.def_path)
                if oid is None:
                    item.save()
                    continue
                size, files = sizes[oid]
                folder = oid.endswith(".dir")
                item.hash_info = HashInfo("md5", oid)
                item.meta = Meta(size=size, nfiles=files if folder else None, isdir=folder)
            stage.dump(update_pipeline=False)


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

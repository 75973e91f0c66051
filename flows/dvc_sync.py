"""After a flow: let DVC know, so that `dvc repro` finds nothing to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from components.contract.record import Record
from components.remote import Remote
from flows.catalogue import load_flow
from flows.graph import Graph, Node
from flows.settings import Settings


def commit(settings: Settings, graph: Graph, records: dict[str, Record], remote: Remote | None = None) -> str:
    """Write dvc.lock for the stages that this run has made; returns a note when that could not be done.

    Only the default profile of a flow with params.yaml as it stands is the graph of a dvc.yaml; any other run leaves
    DVC alone. Outputs that lie in the `remote` only are written down by their ids: `dvc pull` brings them.
    """
    pipeline = load_flow(settings.flow).pipeline
    if not pipeline or settings.profile_name or settings.overridden:
        return ""
    nodes = [node for node in graph.nodes.values() if node.name in records]
    lock = Path(pipeline).with_name("dvc.lock")
    if not Path(".dvc").is_dir() or not Path(pipeline).is_file() or _lock_agrees(lock, settings, nodes, records):
        return ""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(".") as repo:
            if remote is None:
                repo.commit(pipeline, force=True)
            else:
                _write_ids(repo, pipeline, settings, records, remote)
    except (DvcException, OSError) as error:  # a read-only project folder, as in a pod, among others
        return f"DVC: {lock} was not updated ({error}). Run `dvc commit -f {pipeline}` by hand."
    return ""


def _write_ids(repo: Any, pipeline: str, settings: Settings, records: dict[str, Record], remote: Remote) -> None:
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
        for stage in [stage for stage in repo.index.stages if stage.path_in_repo == pipeline and stage.name in records]:
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


def _lock_agrees(lock: Path, settings: Settings, nodes: list[Node], records: dict[str, Record]) -> bool:
    """dvc.lock already holds these outputs, inputs and parameters."""
    if not lock.is_file():
        return False
    stages = yaml.safe_load(lock.read_text(encoding="utf-8")).get("stages", {})
    return all(
        node.name in stages and _stage_agrees(stages[node.name], node, settings, records[node.name]) for node in nodes
    )


def _stage_agrees(stage: dict[str, Any], node: Node, settings: Settings, record: Record) -> bool:
    outs = {entry["path"]: entry["md5"] for entry in stage.get("outs", [])}
    wanted = {str(settings.output(node.name, port)): oid for port, oid in record.outputs.items()}
    deps = {entry["md5"] for entry in stage.get("deps", [])}
    inputs = {oid for ids in record.inputs.values() for oid in ([ids] if isinstance(ids, str) else ids)}
    params = stage.get("params", {}).get("params.yaml", {}).get(node.section)
    return (
        all(outs.get(path) == oid for path, oid in wanted.items())
        and inputs <= deps
        and params == settings.params[node.section]
    )

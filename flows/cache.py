"""What has been made already. A hit counts only when the outputs are there with exactly the recorded content."""

from __future__ import annotations

import configparser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import Store, content_id, write_text
from components.contract.record import Ids, Record, load_record, parse_record
from components.contract.run import home
from components.contract.spec import Spec
from components.errors import ArtifactError


@dataclass(frozen=True)
class Miss:
    """Why a step has to run."""

    reason: str


class Cache:
    """Records by identity, and their outputs by content id in DVC's cache (or in PREFLOW_HOME outside DVC)."""

    def __init__(self, project: Path) -> None:
        self.index = home() / "records"
        self.store = Store(_dvc_cache(project) or home() / "store")

    def find(self, identity: str, paths: dict[str, Path]) -> Record | None:
        """The record of an identity, from beside the outputs or from the index (outputs not looked at)."""
        beside = load_record(next(iter(paths.values())))
        if beside is not None and beside.identity == identity:
            return beside
        known = self.index / f"{identity}.json"
        return parse_record(known.read_text(encoding="utf-8"), str(known)) if known.is_file() else None

    def missing(self, record: Record, paths: dict[str, Path]) -> list[str]:
        """Output ports whose recorded content is neither at its path nor in the store."""
        gone = []
        for port, oid in record.outputs.items():
            there = paths[port].exists() and content_id(paths[port]) == oid
            if not there and oid not in self.store:
                gone.append(port)
        return gone

    def restore(self, record: Record, paths: dict[str, Path]) -> Miss | None:
        """Make every output lie at its path with the recorded content; a Miss if that cannot be done."""
        for port, oid in record.outputs.items():
            if paths[port].exists() and content_id(paths[port]) == oid:
                continue
            if oid not in self.store:
                return Miss(f"made before, but output '{port}' ({oid}) is gone")
            try:
                self.store.get(oid, paths[port])
            except ArtifactError as error:
                return Miss(f"made before, but output '{port}' cannot be restored: {error}")
        for path in paths.values():
            record.write(path)
        return None

    def keep(self, record: Record, paths: dict[str, Path]) -> None:
        """Store the outputs and index the record, so that later runs with other parameters do not lose them."""
        for port, oid in record.outputs.items():
            if oid not in self.store:
                self.store.put(paths[port])
        self._index(record)

    def _index(self, record: Record) -> None:
        known = self.index / f"{record.identity}.json"
        if not known.is_file():
            write_text(known, record.to_json())


def explain(spec: Spec, params: dict[str, Any], inputs: Ids, paths: dict[str, Path]) -> str:
    """In words: what differs from the run whose outputs lie at these paths."""
    last = load_record(next(iter(paths.values())))
    if last is None:
        return "never run here"
    if last.component != spec.ref:
        return f"component is now {spec.ref} (was {last.component})"
    changed = _differences(last.params, params)
    if changed:
        return "changed: " + ", ".join(changed[:4]) + (f" and {len(changed) - 4} more" if len(changed) > 4 else "")
    ports = [port for port in inputs if last.inputs.get(port) != inputs[port]]
    ports += [port for port in last.inputs if port not in inputs]
    return f"new input: {', '.join(ports)}" if ports else "outputs are missing or changed"


def _differences(old: Any, new: Any, prefix: str = "") -> list[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            line
            for key in sorted(old.keys() | new.keys())
            for line in _differences(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else key)
        ]
    return [] if old == new else [f"{prefix} {old!r} -> {new!r}"]


def _dvc_cache(project: Path) -> Path | None:
    """The cache folder of the DVC repository, without importing DVC; None outside one."""
    config = project / ".dvc" / "config"
    if not config.is_file():
        return None
    parsed = configparser.ConfigParser()
    parsed.read([config, project / ".dvc" / "config.local"])
    folder = parsed.get("cache", "dir", fallback="")
    return (project / ".dvc" / folder).resolve() if folder else project / ".dvc" / "cache"

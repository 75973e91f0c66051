"""Artifacts by content id on the command line: `dvc:<id>[@<identity>][/<name>]`, fetched from the DVC remote."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components import artifacts
from components.artifacts import Store
from components.contract.record import Record, record_path
from components.contract.run import home
from components.errors import ArtifactError, WiringError
from components.locks import file_lock

if TYPE_CHECKING:
    from components.remote import Remote

PREFIX = "dvc:"
OUTPUT = PREFIX  # an output that goes to the remote: its id is known when it is made
_REF = re.compile(r"dvc:(?P<oid>[0-9a-f]{32}(?:\.dir)?)(?:@(?P<identity>[0-9a-f]{32}))?(?:/(?P<name>[^/]+))?")


@dataclass(frozen=True)
class Ref:
    """An artifact in the remote: its content id, which step made it (if that must be said), and its file's name.

    A single file has a name that readers look at (`labels.jsonl`) and that its content id does not hold.
    """

    oid: str
    identity: str = ""
    name: str = ""

    def __str__(self) -> str:
        made = f"@{self.identity}" if self.identity else ""
        return f"{PREFIX}{self.oid}{made}" + (f"/{self.name}" if self.name else "")


def parse(text: str, where: str) -> Ref | Path:
    """A reference, or a path if the text is none. Raises WiringError for a reference that is misspelt."""
    if not text.startswith(PREFIX):
        return Path(text)
    match = _REF.fullmatch(text)
    if match is None or match["name"] in (".", ".."):
        raise WiringError(
            f"{where}: not a reference (got {text}). Write dvc:<id>, with @<identity> of the step that made it and "
            "/<file name> where they are needed; <id> is an md5, or md5.dir for a folder."
        )
    return Ref(match["oid"], match["identity"] or "", match["name"] or "")


def node_store() -> Store:
    """What this machine keeps of the remote: $PREFLOW_CACHE, or a folder of its own home."""
    cache = os.environ.get("PREFLOW_CACHE")
    return Store(Path(cache).absolute() if cache else home() / "store")


def fetch(ref: Ref, remote: Remote, store: Store, where: str) -> Path:
    """The artifact on this machine, with its record beside it if a step made it."""
    record = maker(ref, remote, where)
    folder = home() / "inputs" / (record.identity if record else "external")
    path = folder / f"{ref.oid}.named" / ref.name if ref.name else folder / ref.oid
    with file_lock(path.with_name(f"{path.name}.lock")):
        if not path.exists():
            artifacts.clear_leftovers(path)
            _restore(ref.oid, remote, store, path)
        if record is not None and not record_path(path).is_file():
            record.write(path)
    return path


def _restore(oid: str, remote: Remote, store: Store, path: Path) -> None:
    try:
        remote.pull(oid, store)
        store.get(oid, path, link=True)
    except ArtifactError:  # this machine's copy may have suffered, by a crash or a full disk: the remote has another
        store.drop_damaged(oid)
        remote.pull(oid, store)
        store.get(oid, path, link=True)


def maker(ref: Ref, remote: Remote, where: str) -> Record | None:
    """The record of the step that made it; None for an artifact from outside. Raises WiringError if it is ambiguous."""
    if ref.identity:
        record = remote.record(ref.identity)
        if record is None or ref.oid not in record.outputs.values():
            made = "has no record there" if record is None else f"made {', '.join(record.outputs.values())}"
            raise ArtifactError(
                f"{where}: the step {ref.identity} did not make {ref.oid} (got: it {made}, in {remote.url}). "
                "Check the reference, or run that step."
            )
        return record
    found = [record for identity in remote.made_by(ref.oid) if (record := remote.record(identity)) is not None]
    records = [record for record in found if ref.oid in record.outputs.values()]
    if len(records) > 1:
        known = ", ".join(f"{record.identity} ({record.component})" for record in records)
        raise WiringError(
            f"{where}: {ref.oid} was made by several steps, so its lineage is ambiguous (got {known}). "
            f"Write dvc:{ref.oid}@<identity>."
        )
    return records[0] if records else None

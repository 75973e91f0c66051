"""`Remote`: push and pull by content id, verified on arrival, resumable, cached in the store of a machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.artifacts import Store, is_content_id, md5_file, parse_listing
from components.contract.record import Record, parse_record
from components.errors import ArtifactError
from components.locks import file_lock
from components.remote import work
from components.remote.config import settings
from components.remote.transport import THREADS, Progress, Transport, parallel

_BAR_FROM = 8 << 20  # bytes; less is over before a bar is read
_IDENTITY = re.compile(r"[0-9a-f]{32}")


class Remote:
    """A DVC remote. Nothing is contacted before the first call; messages never hold credentials.

    Errors: ArtifactError for what is absent or damaged, UserError for settings that a person must mend, PreflowError
    (to be retried later) for a remote that does not answer.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self._at = Transport(url, options)
        self.url = self._at.url

    def __repr__(self) -> str:
        return f"Remote({self.url!r})"

    @classmethod
    def configured(cls, project: Path | None = None) -> Remote:
        """$PREFLOW_REMOTE, else the default remote of the project's DVC. Raises UserError where there is none."""
        return cls(*settings(project or Path.cwd()))

    def push(self, oid: str, store: Store) -> None:
        """Upload what the remote lacks of `oid`; the listing of a folder last, so that it means its files are there."""
        if oid not in store:
            raise ArtifactError(f"store {store.root}: object {oid} is not there. Rerun the step that makes it.")
        files = dict.fromkeys(entry["md5"] for entry in store.listing(oid)) if oid.endswith(".dir") else {}
        there = self._at.sizes(map(_place, [*files, oid]))
        sizes = {name: store.path(name).stat().st_size for name in [*files, oid]}
        lacking = [name for name in [*files, oid] if there.get(_place(name)) != sizes[name]]

        with _bar("push", sum(sizes[name] for name in lacking)) as progress:

            def upload(name: str) -> None:
                if md5_file(store.path(name)) != name.removesuffix(".dir"):
                    raise ArtifactError(
                        f"store {store.root}: object {name} of {oid} is damaged. Delete it and rerun the step."
                    )
                self._at.upload(store.path(name), _place(name), progress, ahead=_share(lacking))

            parallel(upload, [name for name in lacking if name != oid])
            parallel(upload, [name for name in lacking if name == oid])

    def pull(self, oid: str, store: Store) -> None:
        """Download what the store lacks of `oid`. What was half-way before goes on; processes share the work."""
        if oid in store:
            return
        if not oid.endswith(".dir"):
            self._fetch([oid], oid, store)
            return
        raw = self._verified(oid)
        files = dict.fromkeys(entry["md5"] for entry in parse_listing(oid, raw, self._where(oid)))
        self._fetch([name for name in files if not store.path(name).is_file()], oid, store)
        store.add_bytes(oid, raw)

    def _fetch(self, names: list[str], oid: str, store: Store) -> None:
        sizes = self._at.sizes(map(_place, names))
        for name in names:
            if _place(name) not in sizes:
                raise ArtifactError(f"{self._where(oid)}: {name} is not there. Rerun the step that makes it.")
        with _bar("pull", sum(sizes[_place(name)] for name in names)) as progress:

            def fetch(name: str) -> None:
                self._fetch_one(
                    name,
                    store,
                    lambda part: self._at.download(_place(name), part, sizes[_place(name)], progress, ahead),
                )

            ahead = _share(names)
            parallel(fetch, names, self._at.cut)

    def _fetch_one(self, name: str, store: Store, download: Callable[[Path], str]) -> None:
        target = store.path(name)
        part = target.with_name(f"{target.name}.part")
        with file_lock(target.with_name(f"{target.name}.lock")):
            for again in (True, False):
                if target.is_file():  # another process was faster
                    return
                if download(part) == name:
                    os.replace(part, target)
                    return
                part.unlink()
                if not again:
                    raise ArtifactError(
                        f"{self._where(name)}: it is damaged (its bytes have another md5). "
                        "Delete it there and rerun the step that makes it."
                    )

    def __contains__(self, oid: str) -> bool:
        return not self.missing(oid)

    def missing(self, oid: str) -> list[str]:
        """Objects of `oid` that are not there: `oid` itself, or files of it."""
        if not oid.endswith(".dir"):
            return [] if self._at.size(_place(oid)) is not None else [oid]
        if self._at.size(_place(oid)) is None:
            return [oid]
        names = dict.fromkeys(self.listing(oid).values())
        there = self._at.sizes(map(_place, names))
        return [name for name in names if _place(name) not in there]

    def size(self, oid: str) -> tuple[int, int]:
        """(bytes, files) of an artifact. Raises ArtifactError if something of it is not there."""
        names = list(self.listing(oid).values()) if oid.endswith(".dir") else [oid]
        there = self._at.sizes(map(_place, names))
        for name in names:
            if _place(name) not in there:
                raise ArtifactError(f"{self._where(oid)}: {name} is not there. Rerun the step that makes it.")
        return sum(there[_place(name)] for name in names), len(names)

    def read(self, oid: str, relpath: str = "") -> bytes:
        """One file of a folder artifact (or the file that `oid` is), without the rest of it."""
        name = oid
        if oid.endswith(".dir"):
            known = self.listing(oid)
            if relpath not in known:
                raise ArtifactError(f"{self._where(oid)}: no file {relpath} in it. Known: {', '.join(sorted(known))}.")
            name = known[relpath]
        return self._verified(name)

    def listing(self, oid: str) -> dict[str, str]:
        """The files of a folder artifact: relative path to md5. Raises ArtifactError."""
        return {e["relpath"]: e["md5"] for e in parse_listing(oid, self._verified(oid), self._where(oid))}

    def _verified(self, name: str) -> bytes:
        for _ in range(2):
            try:
                data = self._at.read(_place(name))
            except FileNotFoundError:
                raise ArtifactError(f"{self._where(name)}: it is not there. Rerun the step that makes it.") from None
            if hashlib.md5(data, usedforsecurity=False).hexdigest() == name.removesuffix(".dir"):
                return data
        raise ArtifactError(
            f"{self._where(name)}: it is damaged (its bytes have another md5). "
            "Delete it there and rerun the step that makes it."
        )

    def _where(self, oid: str) -> str:
        return f"remote {self.url} object {oid}"

    def put_record(self, record: Record, execution: Mapping[str, Any]) -> None:
        """Say that a step is done: its outputs are in the remote. The record comes last.

        An empty `execution` (nothing is known of it) leaves what is there.
        """
        if execution:
            text = json.dumps(execution, indent=1) + "\n"
            self._at.write(f"preflow/records/{_known(record.identity)}.execution.json", text.encode("utf-8"))
        for oid in sorted(set(record.outputs.values())):
            self._at.write(f"preflow/made/{oid}/{record.identity}", b"")
        self._at.write(_record(record.identity), record.to_json().encode("utf-8"))

    def record(self, identity: str) -> Record | None:
        """The record of a step that is done; None if it is not."""
        try:
            text = self._at.read(_record(identity)).decode("utf-8")
        except FileNotFoundError:
            return None
        return parse_record(text, f"remote {self.url} {_record(identity)}")

    def execution(self, identity: str) -> dict[str, Any]:
        """Where and how long a step ran; empty if it is not known."""
        try:
            found = json.loads(self._at.read(f"preflow/records/{_known(identity)}.execution.json"))
        except FileNotFoundError:
            return {}
        return dict(found)

    def made_by(self, oid: str) -> list[str]:
        """Identities of the steps that made an artifact, sorted. Several steps may make the same bytes."""
        _place(oid)
        return sorted(name for name in self._at.entries(f"preflow/made/{oid}") if _IDENTITY.fullmatch(name))

    def save_work(self, identity: str, folder: Path) -> None:
        """Mirror the complete entries of a workdir (no `.tmp-` in the name). Torn uploads are never loaded."""
        work.save(self._at, _known(identity), folder)

    def load_work(self, identity: str, folder: Path, *, exact: bool = False) -> bool:
        """Bring back what `save_work` kept, beside what lies in `folder`; False if there was nothing (whole).

        `exact`: entries that were not kept are removed, so that all machines of a step see the same.
        """
        return work.load(self._at, _known(identity), folder, exact)

    def drop_work(self, identity: str) -> None:
        work.drop(self._at, _known(identity))


def _place(oid: str) -> str:
    if not is_content_id(oid):
        raise ArtifactError(f"content id: must be an md5, or md5.dir for a folder (got {oid}). Check where it is from.")
    return f"files/md5/{oid[:2]}/{oid[2:]}"


def _known(identity: str) -> str:
    if not _IDENTITY.fullmatch(identity):
        raise ArtifactError(f"identity: must be 32 hexadecimal digits (got {identity}). Check where it is from.")
    return identity


def _share(names: Sized) -> int:
    """Threads for the parts of one file of several."""
    return max(1, THREADS // max(1, len(names)))


def _record(identity: str) -> str:
    return f"preflow/records/{_known(identity)}.json"


@contextmanager
def _bar(title: str, total: int) -> Iterator[Progress]:
    """A progress bar in bytes; none for a few."""
    from tqdm import tqdm

    with tqdm(total=total, desc=title, unit="B", unit_scale=True, unit_divisor=1024, disable=total < _BAR_FROM) as bar:
        yield bar.update

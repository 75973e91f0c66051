"""Checkpoints of a running step in the remote: files by md5, and a manifest that is written when they are all there."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import uuid
from pathlib import Path
from typing import Any

from components import artifacts
from components.errors import ArtifactError
from components.locks import file_lock
from components.remote.transport import THREADS, Transport, parallel

TEMPORARY = ".tmp-"  # in the name of what is not complete yet
_TRIES = 5

Files = dict[str, tuple[int, int]]
"""Bytes and time of change of the files of a workdir, by relative path."""
Manifest = dict[str, dict[str, Any]]
"""md5 and size of the files that are kept, by relative path."""


def scan(folder: Path) -> Files:
    """The files of the complete entries of a workdir."""
    found: Files = {}
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        if TEMPORARY in entry.name:
            continue
        with contextlib.suppress(FileNotFoundError):  # an older checkpoint that is being deleted
            for path in [entry] if entry.is_file() else sorted(entry.rglob("*")):
                facts = path.stat()
                if path.is_file():
                    found[path.relative_to(folder).as_posix()] = (facts.st_size, facts.st_mtime_ns)
    return found


def save(at: Transport, identity: str, folder: Path) -> None:
    """Mirror the complete entries of `folder`: new objects, then the manifest, then the old objects go."""
    artifacts.clear_leftovers(folder)
    still = folder.with_name(f"{folder.name}{TEMPORARY}{uuid.uuid4().hex[:8]}")
    try:
        names = _snapshot(folder, still)
        if not names:
            return
        paths = {name: still / name for name in names}
        files = {name: {"md5": artifacts.md5_file(p), "size": p.stat().st_size} for name, p in paths.items()}
        sources = {str(file["md5"]): name for name, file in files.items()}
        there = at.entries(_objects(identity))
        lacking = [md5 for md5, name in sources.items() if there.get(md5) != files[name]["size"]]
        parallel(lambda md5: at.upload(still / sources[md5], f"{_objects(identity)}/{md5}"), lacking)
        at.write(_manifest(identity), json.dumps({"files": files}, indent=1, sort_keys=True).encode("utf-8"))
        at.remove(f"{_objects(identity)}/{md5}" for md5 in there.keys() - sources.keys())
    finally:
        artifacts.remove(still)


def _snapshot(folder: Path, still: Path) -> list[str]:
    """Second names for the files of `folder` in `still`: a step deletes a checkpoint when it has written the next."""
    for _ in range(_TRIES):
        before = scan(folder)
        artifacts.remove(still)
        try:
            for name in before:
                (still / name).parent.mkdir(parents=True, exist_ok=True)
                artifacts.copy(folder / name, still / name, link=True)
        except FileNotFoundError:
            continue
        if scan(folder) == before:
            return list(before)
    return []


def load(at: Transport, identity: str, folder: Path, exact: bool) -> bool:
    """Bring back the entries of the manifest that `folder` lacks; whether there were any, all of them whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with file_lock(folder.with_name(f"{folder.name}.lock")):
        files: Manifest = {}
        try:
            files = _parse(at.read(_manifest(identity)))
        except FileNotFoundError:
            pass
        except ArtifactError as error:
            _damaged(error)
        wanted = sorted({name.partition("/")[0] for name in files})
        for entry in list(folder.iterdir()) if exact else ():
            if entry.name not in wanted and TEMPORARY not in entry.name:
                artifacts.remove(entry)
        whole = bool(wanted)
        for name in wanted:
            if not (folder / name).exists():
                try:
                    _load_entry(at, identity, folder / name, {k: v for k, v in files.items() if _within(k, name)})
                except ArtifactError as error:
                    whole = _damaged(error)
    return whole


def drop(at: Transport, identity: str) -> None:
    """Forget it; the manifest goes first, so that what is half removed is not loaded."""
    at.remove([_manifest(identity)])
    at.remove(f"{_objects(identity)}/{name}" for name in at.entries(_objects(identity)))


def _load_entry(at: Transport, identity: str, target: Path, files: Manifest) -> None:
    temporary = target.with_name(f"{target.name}{TEMPORARY}mirror")  # one name: a download that was cut goes on
    for name, file in files.items():
        inner = name.partition("/")[2]
        place = temporary / inner if inner else temporary
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            found = at.download(f"{_objects(identity)}/{file['md5']}", place, file["size"], ahead=THREADS)
        except FileNotFoundError:
            found = "nothing"
        if found != file["md5"]:
            artifacts.remove(temporary)
            raise ArtifactError(
                f"remote {at.url} work {identity}: {name} is damaged (got {found}, want {file['md5']}). "
                "It is left aside"
            )
    os.rename(temporary, target)


def _damaged(error: ArtifactError) -> bool:
    print(f"checkpoint: {error}: the step starts without it.", file=sys.stderr, flush=True)
    return False


def _parse(raw: bytes) -> Manifest:
    where = "the manifest"
    try:
        files = {
            str(name): {"md5": str(f["md5"]), "size": int(f["size"])} for name, f in json.loads(raw)["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{where}: it is damaged (got {error!r}). It is left aside") from error
    for name, file in files.items():
        artifacts.check_relpath(name, where)
        if not artifacts.is_content_id(str(file["md5"])):
            raise ArtifactError(f"{where}: an object in it leads elsewhere (got {file['md5']}). It is left aside")
    return files


def _within(name: str, entry: str) -> bool:
    return name == entry or name.startswith(f"{entry}/")


def _objects(identity: str) -> str:
    return f"preflow/checkpoints/{identity}/objects"


def _manifest(identity: str) -> str:
    return f"preflow/checkpoints/{identity}/manifest.json"

"""Content ids and the content-addressed store. Torch-free, and no import of DVC.

A content id is DVC's own hash, so the string in `dvc.lock`, in a flow's cache key, in an MLflow tag and in the
store is the same: the md5 of a file, or the md5 of DVC's directory listing with the suffix `.dir`. The store uses
DVC's cache layout (`files/md5/ab/cdef...`), so what a flow stores `dvc checkout` can restore, and the other way round.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from components.errors import ArtifactError

_CHUNK = 1 << 20
_ID = re.compile(r"[0-9a-f]{32}(\.dir)?")


def is_content_id(text: str) -> bool:
    """A string of the form `md5` or `md5.dir`."""
    return _ID.fullmatch(text) is not None


def md5_file(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root, followlinks=True):
        _refuse_ring(root, Path(folder))
        folders.sort()
        for name in names:
            path = Path(folder) / name
            _refuse_special(path)
            yield path


def _refuse_ring(root: Path, folder: Path) -> None:
    """A link to a folder that it lies in would be followed for ever."""
    if folder == root or not folder.is_symlink():
        return
    above = [parent for parent in folder.parents if parent == root or parent.is_relative_to(root)]
    if any(folder.samefile(parent) for parent in above):
        raise ArtifactError(f"{folder}: is a link to a folder that it lies in. Remove it.")


def _refuse_special(path: Path) -> None:
    """A pipe would be waited for for ever; a link to nowhere, or in a ring, has no content."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        what = f"cannot be read, a link to nowhere or in a ring (got {error.strerror})"
        raise ArtifactError(f"{path}: {what}. Remove it, or put the file there.") from error
    if not stat.S_ISREG(mode):
        raise ArtifactError(f"{path}: is no file but a pipe, socket or device. Remove it, or write a file.")


def _listing(root: Path) -> list[dict[str, str]]:
    """DVC's directory object: one entry per file, sorted by relative path."""
    entries = [{"md5": md5_file(file), "relpath": file.relative_to(root).as_posix()} for file in _files(root)]
    return sorted(entries, key=lambda entry: entry["relpath"])


def _encode(listing: list[dict[str, str]]) -> bytes:
    return json.dumps(listing, sort_keys=True).encode("utf-8")


def _dir_id(listing: list[dict[str, str]]) -> str:
    return hashlib.md5(_encode(listing), usedforsecurity=False).hexdigest() + ".dir"


def check_relpath(relpath: str, where: str) -> None:
    """Raise ArtifactError unless `relpath` stays within its folder."""
    path = PurePosixPath(relpath)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ArtifactError(f"{where}: a file in it leads elsewhere (got {relpath}). Do not use it.")


def parse_listing(oid: str, raw: bytes, where: str) -> list[dict[str, str]]:
    """The entries of a directory object, if its bytes are what `oid` says and every file lies within the folder."""
    if hashlib.md5(raw, usedforsecurity=False).hexdigest() + ".dir" != oid:
        raise ArtifactError(f"{where}: the listing is damaged. Delete {oid} there and rerun the step that makes it.")
    try:
        listing = [{"md5": str(entry["md5"]), "relpath": str(entry["relpath"])} for entry in json.loads(raw)]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{where}: it is not a listing (got {error!r}). Do not use it.") from error
    for entry in listing:
        check_relpath(entry["relpath"], where)
        if not is_content_id(entry["md5"]):
            raise ArtifactError(f"{where}: an object in it leads elsewhere (got {entry['md5']}). Do not use it.")
    return listing


def copy(source: Path, target: Path, *, link: bool = False) -> None:
    """The bytes of `source` at `target`; with `link` as a second name of the same file where the disk allows it."""
    if link:
        with contextlib.suppress(OSError):  # another file system, or one without links
            os.link(source.resolve(), target)
            return
    shutil.copyfile(source, target)


def content_id(path: Path) -> str:
    """The DVC hash of a file (`md5`) or folder (`md5.dir`). Raises ArtifactError if nothing is there."""
    if path.is_dir():
        return _dir_id(_listing(path))
    if path.is_file():
        return md5_file(path)
    if path.exists() or path.is_symlink():
        _refuse_special(path)
    raise ArtifactError(f"{path}: no such file or folder. Check the path, or run the step that makes it.")


class Store:
    """Objects by content id under `root`, in DVC's cache layout. Writes are atomic; reads verify."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, oid: str) -> Path:
        """Where the bytes of one object lie, if they are there."""
        return self.root / "files" / "md5" / oid[:2] / oid[2:]

    def __contains__(self, oid: str) -> bool:
        """All objects of `oid` are there (existence only; `get` verifies the bytes)."""
        head = self.path(oid)
        if not head.is_file():
            return False
        if not oid.endswith(".dir"):
            return True
        return all(self.path(entry["md5"]).is_file() for entry in self.listing(oid))

    def listing(self, oid: str) -> list[dict[str, str]]:
        """The files of a folder object. Raises ArtifactError."""
        return parse_listing(oid, self.path(oid).read_bytes(), f"store object {self.path(oid)}")

    def add_bytes(self, oid: str, data: bytes) -> None:
        """Store one object whose content is already known to be `oid`."""
        target = self.path(oid)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        temporary.write_bytes(data)
        os.replace(temporary, target)

    def _add_file(self, oid: str, source: Path, link: bool) -> None:
        target = self.path(oid)
        if target.is_file() and target.stat().st_size == source.stat().st_size:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.tmp")
        copy(source, temporary, link=link)
        os.replace(temporary, target)

    def put(self, path: Path, *, link: bool = False) -> str:
        """Copy a file or folder into the store; returns its content id. `link`: nobody writes to `path` any more."""
        if not path.is_dir():
            oid = content_id(path)
            self._add_file(oid, path, link)
            return oid
        listing = _listing(path)
        for entry in listing:
            self._add_file(entry["md5"], path / entry["relpath"], link)
        oid = _dir_id(listing)
        self.add_bytes(oid, _encode(listing))  # last: a listing in the store means that its files are there
        return oid

    def get(self, oid: str, path: Path, *, link: bool = False) -> None:
        """Restore `oid` at `path` (replaced atomically), verifying every byte on the way.

        With `link` the files share the store's bytes where the disk allows it, and are read-only.
        """
        if oid not in self:
            raise ArtifactError(f"store {self.root}: object {oid} is not there. Rerun the step that makes it.")
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
        if oid.endswith(".dir"):
            temporary.mkdir()
            for entry in self.listing(oid):
                target = temporary / entry["relpath"]
                target.parent.mkdir(parents=True, exist_ok=True)
                self._restore(entry["md5"], target, link)
        else:
            self._restore(oid, temporary, link)
        if (found := content_id(temporary)) != oid:
            remove(temporary)
            raise ArtifactError(
                f"store {self.root}: object {oid} is damaged (its bytes hash to {found}). Delete it and rerun the step."
            )
        replace(temporary, path)

    def _restore(self, oid: str, target: Path, link: bool) -> None:
        if link:
            with contextlib.suppress(PermissionError):  # somebody else's store: reading it is enough
                self.path(oid).chmod(0o444)
        copy(self.path(oid), target, link=link)

    def drop_damaged(self, oid: str) -> None:
        """Delete those objects of `oid` whose bytes are not what their id says."""
        damaged = self.path(oid).is_file() and md5_file(self.path(oid)) != oid.removesuffix(".dir")
        if damaged:
            self.path(oid).unlink()
        elif oid.endswith(".dir") and self.path(oid).is_file():
            for entry in self.listing(oid):
                self.drop_damaged(entry["md5"])


def remove(path: Path) -> None:
    """Delete a file or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def replace(temporary: Path, target: Path) -> None:
    """Put a finished file or folder in its final place. What was there before is gone afterwards."""
    if target.is_dir() or temporary.is_dir():
        if target.exists():
            old = target.with_name(f"{target.name}.old-{uuid.uuid4().hex[:8]}")
            os.rename(target, old)
            os.rename(temporary, target)
            remove(old)
            return
        os.rename(temporary, target)
        return
    os.replace(temporary, target)


def write_text(path: Path, text: str) -> None:
    """Write a small text file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp-{uuid.uuid4().hex[:8]}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def clear_leftovers(target: Path) -> None:
    """Remove `.tmp-*` and `.old-*` siblings that a killed run left beside `target`.

    If the kill came between the two renames of `replace`, the old version is put back first.
    """
    if not target.parent.is_dir():
        return
    olds = sorted(target.parent.glob(f"{target.name}.old-*"))
    if olds and not target.exists():
        os.rename(olds[0], target)
    for leftover in [*target.parent.glob(f"{target.name}.tmp-*"), *target.parent.glob(f"{target.name}.old-*")]:
        remove(leftover)

"""Which files of a folder are read, and why the others are not. Nothing outside the folder is, and nothing twice."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import stat
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import IO, Any, cast

from components.errors import ArtifactError, DataError, ParamsError
from components.records.importers.limits import DEFAULT, Limits

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_COPY = re.compile(r"^copy of |[ _-]copy( ?\(?\d+\)?)?$|^#.*#$|~$", re.IGNORECASE)
_LEFTOVER = re.compile(r"(~|\.(sw[a-p]|bak|orig|old|tmp|part|crdownload))$|^#.*#$", re.IGNORECASE)
_SYSTEM = frozenset({"__MACOSX", "__pycache__", "lost+found", "$RECYCLE.BIN"})
# an object of a content-addressed cache: DVC and the Hugging Face hub put links to them where people look for files
_CACHED = re.compile(r"/files/md5/[0-9a-f]{2}/[0-9a-f]{30}$|/blobs/[0-9a-f]{40,64}$")


@dataclass(frozen=True)
class Found:
    """Files to read in sorted order, and every other one by its path in the folder, with the reason."""

    files: list[Path]
    left_out: dict[str, str] = field(default_factory=dict)


def usable_files(root: Path, pattern: str = "**/*", limits: Limits = DEFAULT) -> Found:
    """The file itself, or the importable files of a folder.

    Raises ArtifactError (nothing there to read), ParamsError (a pattern that leaves the folder), DataError (a link out
    of the folder, a link that leads nowhere, a pipe or device).
    """
    if not root.is_dir():
        check_regular(root)
        return Found([root])
    matching = _matching(root, pattern)
    files, left_out = [], {}
    for path in _walk(root):
        reason = _reason(root, path, matching)
        if reason:
            left_out[shown(path, root)] = reason
        else:
            _check_link(root, path)
            check_regular(path)
            files.append(path)
    if not files:
        why = "".join(f"; {name}: {reason}" for name, reason in list(left_out.items())[:3])
        raise ArtifactError(
            f"{root}: no usable file matches '{pattern}' (got {len(left_out)} other files{why}). Put "
            f"{', '.join(SUFFIXES)} files in it."
        )
    return _without_copies(root, files, left_out, limits)


def check_regular(path: Path) -> None:
    """Raise ArtifactError if nothing is there, DataError if it is no file that can be read to its end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        if path.is_symlink():
            raise DataError(f"{path}: is a link that leads nowhere. Remove it, or put the file there.") from error
        raise ArtifactError(f"{path}: no such file or folder. Check the path.") from error
    except (OSError, ValueError) as error:  # a ring of links, a name that no file can have
        raise DataError(f"{path}: cannot be read ({error}). Remove it, or put the file there.") from error
    if not stat.S_ISREG(mode):
        kind = "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
        raise DataError(f"{path}: is a {kind}, not a file. Write what it gives into a file, and pass that.")


def check_pattern(pattern: str) -> None:
    """Raise ParamsError for a glob that is none, or that leads out of the folder."""
    path = PurePath(pattern)
    if path.is_absolute() or ".." in path.parts or "\\" in pattern or "\x00" in pattern or not path.parts:
        raise ParamsError(f"files: the pattern must stay within the folder (got '{pattern}'). For example **/*.jsonl.")
    if any("**" in part and part != "**" for part in path.parts):
        raise ParamsError(f"files: '**' must be a whole part of the pattern (got '{pattern}'). For example **/*.jsonl.")


def _matching(root: Path, pattern: str) -> set[Path]:
    check_pattern(pattern)
    try:
        return set(root.glob(pattern))
    except (ValueError, NotImplementedError, re.error) as error:
        raise ParamsError(f"files: is no pattern (got '{pattern}', {error}). For example **/*.jsonl.") from error


def _walk(root: Path) -> Iterator[Path]:
    """Every entry below that is no folder (a link to a folder is one entry), in sorted order."""
    found = []
    for folder, folders, names in os.walk(root):
        found += [Path(folder) / name for name in names]
        found += [Path(folder) / name for name in folders if (Path(folder) / name).is_symlink()]
    return iter(sorted(found))


def _reason(root: Path, path: Path, matching: set[Path]) -> str:
    """Why a file is not read; empty if it is."""
    parts = path.relative_to(root).parts
    stem = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".parquet")
    reasons: list[tuple[str, Callable[[], bool]]] = [
        ("hidden", lambda: any(part.startswith(".") for part in parts)),
        ("left by the system", lambda: any(part in _SYSTEM for part in parts)),
        ("a copy or leftover of an editor", lambda: bool(_LEFTOVER.search(path.name) or _COPY.search(stem))),
        ("not one of " + ", ".join(SUFFIXES), lambda: not path.name.endswith(SUFFIXES)),
        ("does not match the pattern", lambda: path not in matching),
        ("a link to a folder", path.is_dir),
        ("its name is not valid Unicode", lambda: not _is_unicode(str(path))),
        ("empty", lambda: path.is_file() and path.stat().st_size == 0),
    ]
    return next((reason for reason, holds in reasons if holds()), "")


def plain_name(name: str) -> str:
    """A name under which a file of a folder is read: what would make it pass for hidden or a copy is gone."""
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")
    stem = _COPY.sub("", name.removesuffix(suffix)).lstrip(".")
    return f"{stem or 'feedback'}{suffix}"


def _is_unicode(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shown(path: Path, root: Path) -> str:
    """The path in its folder, in valid Unicode."""
    return os.fsencode(path.relative_to(root).as_posix()).decode("utf-8", errors="replace")


def _check_link(root: Path, path: Path) -> None:
    if not path.is_symlink() and not any((root / part).is_symlink() for part in path.relative_to(root).parents):
        return
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"{path}: is a link that leads nowhere or in a ring. Remove it.") from error
    if not target.is_relative_to(root.resolve()) and not _CACHED.search(target.as_posix()):
        raise DataError(
            f"{path}: is a link to a file outside of the folder (got {target}). Copy the file into the folder."
        )


def _without_copies(root: Path, files: list[Path], left_out: dict[str, str], limits: Limits) -> Found:
    """Of files with the same content, packed or not, the first is read: votes must not count twice."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in files:
        by_size[_size(path)].append(path)
    first: dict[str, Path] = {}
    for path in sorted(path for group in by_size.values() if len(group) > 1 for path in group):
        same = first.setdefault(_digest(path, limits), path)
        if same != path:
            left_out[shown(path, root)] = f"the same content as {shown(same, root)}"
    return Found([path for path in files if shown(path, root) not in left_out], dict(sorted(left_out.items())))


def _size(path: Path) -> int:
    """Bytes of the content modulo 2**32: what gzip writes at its end, so that a packed copy has the same size."""
    size = path.stat().st_size
    if path.suffix != ".gz" or size < 4:
        return size % 2**32
    with path.open("rb") as stream:
        stream.seek(-4, os.SEEK_END)
        return int.from_bytes(stream.read(4), "little")


def _digest(path: Path, limits: Limits) -> str:
    """Of the unpacked content; of the packed one where it cannot be unpacked (the reader will say why)."""
    try:
        return _hash(path, cast("Any", gzip.open if path.suffix == ".gz" else open), limits)
    except (OSError, EOFError, zlib.error, DataError):
        return _hash(path, open, limits)


def _hash(path: Path, opener: Callable[[Path, str], IO[bytes]], limits: Limits) -> str:
    digest, read, packed = hashlib.sha256(), 0, path.stat().st_size
    with opener(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
            read += len(block)
            if opener is not open:
                limits.check_size(path.name, read, packed)
    return digest.hexdigest()

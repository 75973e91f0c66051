"""One process at a time: an exclusive lock on a file, for the processes of one machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on `path`; the system releases it if the process dies. The file is gone afterwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            if not _same(stream.fileno(), path):  # whoever held it removed the file: others lock a new one by now
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _same(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False

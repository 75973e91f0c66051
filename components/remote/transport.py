"""Bytes under a URL (a folder, an object store) through fsspec: whole files, retries, no secret in a message."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from components.errors import PreflowError, UserError

T = TypeVar("T")
Progress = Callable[[int], object]
"""Called with the number of bytes that have come, or gone, since the last call."""

TRIES, PAUSE = 3, 1.0  # attempts, and seconds before the second one (four times as many before the third)
THREADS = 8
CHUNK = 8 << 20  # bytes that a ranged read asks for; THREADS of them may be in memory
PART = 16 << 20  # bytes of a part of a large upload, likewise
PARTS = 9_000  # S3 takes at most 10 000
MANY = 4  # as many files of one folder are looked up by listing it

_PROTOCOLS = {"": "file", "file": "file", "s3": "s3", "gs": "gs", "gcs": "gs", "azure": "az", "az": "az", "abfs": "az"}
_EXTRAS = {"s3": "s3", "gs": "gs", "az": "azure"}
_CLIENTS = {"botocore", "aiobotocore", "aiohttp", "gcsfs", "google", "azure", "adlfs", "requests", "urllib3"}
_MISTAKE = re.compile(r"Credential|Authentication|ProfileNotFound|ParamValidation|^Invalid|NoRegion|ConfigNotFound")
_SECRET = re.compile(r"key|secret|token|password|connection_string", re.IGNORECASE)


def _quiet(count: int) -> None: ...


def shown(url: str) -> str:
    """A URL without what may be a secret in it."""
    return re.sub(r"://[^/\s]*@", "://", url).rstrip("/")


def parallel(action: Callable[[T], Any], items: Iterable[T], cut: threading.Event | None = None) -> None:
    """`action` on every item, THREADS at a time; the first error (or a signal) ends it, and sets `cut` meanwhile."""
    pool = ThreadPoolExecutor(THREADS)
    try:
        for future in [pool.submit(action, item) for item in items]:
            future.result()
    except BaseException:
        if cut is not None:
            cut.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        if cut is not None:
            cut.clear()


class Transport:
    """Files by relative path under a URL. FileNotFoundError is what a caller gets for a file that is not there.

    Errors: UserError for a URL or credentials that a person must mend; PreflowError, to be retried later, after TRIES.
    """

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.url = shown(url)
        scheme = urlsplit(url).scheme if "://" in url else ""
        if scheme not in _PROTOCOLS:
            raise UserError(
                f"remote {self.url}: cannot be used (got {scheme}://). Use a folder, s3://, gs:// or azure://."
            )
        if re.search(r"://[^/]*:[^/]*@", url):
            raise UserError(f"remote {self.url}: a URL must not hold credentials. Give them in the environment.")
        self.protocol = _PROTOCOLS[scheme]
        self.local = self.protocol == "file"
        path = url.partition("://")[2] if scheme else url
        self._root = os.path.abspath(Path(path).expanduser()) if self.local else path.strip("/")
        self._options = dict(options or {})
        self.cut = threading.Event()  # downloads that are under way are to stop where they are

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @cached_property
    def _fs(self) -> Any:
        import fsspec

        own = {"skip_instance_cache": True, "use_listings_cache": False}
        try:
            return fsspec.filesystem(self.protocol, **own, **self._options)
        except ImportError as error:
            remedy = f"pip install 'preflow[{_EXTRAS[self.protocol]}]'"
            why = error.__cause__ or error  # fsspec says what to install, its cause what is wrong
            raise UserError(f"remote {self.url}: its driver cannot be loaded (got: {why}). Run {remedy}.") from None
        except ValueError as error:
            raise UserError(f"remote {self.url}: {self._hide(str(error))}. Mend its settings.") from None

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _hide(self, text: str) -> str:
        """A message of a client library without credentials."""
        environment = {k: v for k, v in os.environ.items() if k.startswith(("AWS_", "AZURE_"))}
        for name, value in [*_flat(self._options), *environment.items()]:
            if _SECRET.search(name) and len(value) >= 4:
                text = text.replace(value, "***")
        return shown(text)

    def _call(self, what: str, action: Callable[[], T]) -> T:
        """Do it, again after a pause where the network failed."""
        for attempt in range(TRIES):
            try:
                return action()
            except FileNotFoundError:
                raise
            except Exception as error:
                kind, client = type(error).__name__, type(error).__module__.partition(".")[0] in _CLIENTS
                if not client and not isinstance(error, OSError):
                    raise
                said = f"{kind}: {self._hide(str(error))}".rstrip(". ")
                if isinstance(error, PermissionError) or (client and _MISTAKE.search(kind)):
                    raise UserError(
                        f"remote {self.url}: {what} was refused (got {said}). Check the credentials, and that they "
                        "may read, write and list there."
                    ) from None
                if attempt == TRIES - 1:
                    raise PreflowError(
                        f"remote {self.url}: {what} failed {TRIES} times (got {said}). "
                        "Check the network and that the remote is up, then retry."
                    ) from None
                time.sleep(PAUSE * 4**attempt * random.uniform(0.8, 1.2))
        raise AssertionError("unreachable")

    def size(self, path: str) -> int | None:
        """Bytes of a file; None if it is not there."""
        try:
            info = self._call(f"looking for {path}", lambda: self._fs.info(self._full(path)))
        except FileNotFoundError:
            return None
        return None if info["type"] == "directory" else int(info["size"])

    def entries(self, folder: str) -> dict[str, int]:
        """What lies directly in a folder, by name: bytes of a file, 0 for a folder; empty if it is not there."""
        full = self._full(folder)
        try:
            infos = self._call(f"listing {folder}", lambda: self._fs.ls(full, detail=True))
        except FileNotFoundError:
            return {}
        found = {info["name"].rstrip("/").rpartition("/")[2]: info for info in infos if _below(info["name"], full)}
        return {name: int(info["size"] or 0) for name, info in found.items()}

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Bytes of those files that are there."""
        folders: dict[str, set[str]] = {}
        for path in paths:
            folders.setdefault(path.rpartition("/")[0], set()).add(path)
        found: dict[str, int] = {}

        def look(folder: str) -> None:
            wanted = folders[folder]
            if len(wanted) >= MANY:
                there = {f"{folder}/{name}": size for name, size in self.entries(folder).items()}
                found.update({path: there[path] for path in wanted & there.keys()})
            else:
                found.update({path: size for path in wanted if (size := self.size(path)) is not None})

        parallel(look, folders)
        return found

    def read(self, path: str) -> bytes:
        return bytes(self._call(f"reading {path}", lambda: self._fs.cat_file(self._full(path))))

    def write(self, path: str, data: bytes) -> None:
        """One whole file, or none."""
        if self.local:
            self._place(path, lambda temporary: temporary.write_bytes(data))
        else:
            self._put(path, lambda: self._fs.pipe_file(self._full(path), data))

    def upload(self, source: Path, path: str, progress: Progress = _quiet, ahead: int = 1) -> None:
        """One whole file, or none. `ahead`: parts of it that are sent at a time."""
        size, told = source.stat().st_size, 0

        def tell(value: int) -> None:
            nonlocal told
            progress(max(0, value - told))
            told = max(told, value)

        if self.local:
            self._place(path, lambda temporary: shutil.copyfile(source, temporary))
        else:
            more = self._put_options(size, ahead)
            self._put(path, lambda: self._fs.put_file(str(source), self._full(path), callback=_told(tell), **more))
        tell(size)

    def _put_options(self, size: int, ahead: int) -> dict[str, Any]:
        """Without them s3fs would hold 500 MB of every file in memory, and adlfs refuse to replace one."""
        part = max(PART, -(-size // PARTS))
        known: dict[str, dict[str, Any]] = {
            "s3": {"chunksize": part, "max_concurrency": ahead},
            "gs": {"chunksize": PART},
            "az": {"overwrite": True},
        }
        return known[self.protocol]

    def _put(self, path: str, action: Callable[[], object]) -> None:
        try:
            self._call(f"writing {path}", action)
        except FileNotFoundError:
            bucket = self._root.partition("/")[0]
            raise UserError(f"remote {self.url}: there is no bucket {bucket}. Create it, or mend the URL.") from None

    def _place(self, path: str, write: Callable[[Path], object]) -> None:
        target = Path(self._full(path))

        def action() -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                write(temporary)
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)

        self._call(f"writing {path}", action)

    def download(self, path: str, part: Path, size: int, progress: Progress = _quiet, ahead: int = 1) -> str:
        """Append to `part` what it lacks of a file of `size` bytes; returns the md5 of all of it."""
        digest = hashlib.md5(usedforsecurity=False)
        if part.is_file() and part.stat().st_size > size:
            part.unlink()
        with part.open("a+b") as stream:
            stream.seek(0)
            while block := stream.read(1 << 20):
                digest.update(block)
                progress(len(block))
            for block in self._blocks(path, stream.tell(), size, ahead):
                stream.write(block)
                digest.update(block)
                progress(len(block))
        return digest.hexdigest()

    def _blocks(self, path: str, start: int, size: int, ahead: int) -> Iterator[bytes]:
        """The rest of a file in order, `ahead` ranges of it under way."""
        ranges = [(at, min(at + CHUNK, size)) for at in range(start, size, CHUNK)]
        if len(ranges) < 2:
            yield from (self._range(path, *each) for each in ranges)
            return
        pool, waiting = ThreadPoolExecutor(ahead), deque[Future[bytes]]()
        try:
            for each in ranges:
                waiting.append(pool.submit(self._range, path, *each))
                if len(waiting) == ahead:
                    yield waiting.popleft().result()
            yield from (future.result() for future in waiting)
        finally:
            pool.shutdown(cancel_futures=True)

    def _range(self, path: str, start: int, end: int) -> bytes:
        if self.cut.is_set():
            raise PreflowError(f"remote {self.url}: reading {path} was cut off at byte {start}. Retry, and it goes on.")

        def action() -> bytes:
            block = bytes(self._fs.cat_file(self._full(path), start=start, end=end))
            if len(block) != end - start:
                raise ConnectionError(f"{len(block)} bytes came instead of {end - start}")
            return block

        return self._call(f"reading {path} from byte {start}", action)

    def remove(self, paths: Iterable[str]) -> None:
        """Delete files; those that are not there are no problem."""

        def action(path: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                self._call(f"deleting {path}", lambda: self._fs.rm_file(self._full(path)))

        parallel(action, paths)


def _told(tell: Callable[[int], None]) -> Any:
    """What a driver calls when it has sent some bytes."""
    from fsspec.callbacks import Callback

    return Callback(hooks={"tell": lambda size, value, **more: tell(value)})


def _below(name: str, folder: str) -> bool:
    """An object store may list the folder itself, as an empty object."""
    return name.rstrip("/") != folder.rstrip("/")


def _flat(options: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value)
        elif isinstance(value, str):
            yield name, value

"""Raw rows of a file, with their line numbers. A broken line is a quarantine row, a broken file is an error."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from components.contract.json_text import parse_json
from components.errors import DataError
from components.records.importers.diagnosis import HEAD, check_head, recode
from components.records.importers.folder import SUFFIXES, check_regular
from components.records.importers.limits import DEFAULT, Limits, too_large
from components.records.importers.options import RAW_LIMIT
from components.records.importers.parquet import parquet_rows

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Line:
    """One non-blank line: the JSON object in it, or which rule it breaks and why."""

    number: int
    raw: str
    row: dict[str, Any] | None = None
    rule: str = ""
    reason: str = ""


def read(path: Path, limits: Limits = DEFAULT) -> Iterator[Line]:
    """The rows of a .jsonl, .jsonl.gz or .parquet file. Blank lines carry nothing and are skipped.

    Raises DataError where the file as a whole cannot be read (not gzip, cut off, another kind or encoding, too large).
    """
    check_regular(path)
    if path.name.endswith(".parquet"):
        for number, row in enumerate(parquet_rows(path, limits), start=1):
            yield Line(number, repr(row)[:RAW_LIMIT], row=row)
    elif path.name.endswith(SUFFIXES):
        yield from _json_lines(path, limits)
    else:
        with path.open("rb") as stream:
            check_head(path.name, stream.read(HEAD))
        raise DataError(
            f"{path.name}: cannot read this kind of file. Use one of {', '.join(SUFFIXES)}; with one JSON object a "
            "line, name it .jsonl."
        )


def _json_lines(path: Path, limits: Limits) -> Iterator[Line]:
    try:
        with _open(path) as stream:
            for number, raw in _bounded(path, stream, limits):
                content = raw.removeprefix(_BOM) if number == 1 else raw
                if content.strip():
                    yield _parse(path, number, content.rstrip(b"\r\n"))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name}: the gzip data is cut off or damaged ({error}). Copy the file again.") from None
    except OSError as error:
        raise DataError(f"{path.name}: cannot be read ({error.strerror}). Check its rights and the disk.") from None


def _open(path: Path) -> IO[bytes]:
    """The unpacked bytes, once their beginning was looked at."""
    packed = path.suffix == ".gz"
    if packed:
        _check_gzip(path)
    opener: Any = gzip.open if packed else open
    with opener(path, "rb") as stream:
        head = stream.read(HEAD)
    try:
        check_head(_unpacked(path.name), head)
    except DataError as error:
        raise DataError(f"{path.name}: unpack it (gunzip -k) and look: {error}" if packed else str(error)) from None
    opened: IO[bytes] = opener(path, "rb")
    return opened


def _unpacked(name: str) -> str:
    """What a file is called when it is unpacked: what a command in a message can read."""
    return name.removesuffix(".gz")


def _bounded(path: Path, stream: IO[bytes], limits: Limits) -> Iterator[tuple[int, bytes]]:
    """The lines with their numbers, none of them longer than is allowed, nor all of them together."""
    most, packed, read, checked = limits.line_bytes, path.stat().st_size, 0, 0
    for number, raw in enumerate(iter(lambda: stream.readline(most + 1), b""), start=1):
        if len(raw) > most:
            raise too_large(path.name, f"line {number} is longer than {limits.line_mib} MiB", "line_mib")
        read += len(raw)
        if read - checked > 1 << 24:
            limits.check_size(path.name, read, packed)
            checked = read
        yield number, raw


def _check_gzip(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(2)
    if start != b"\x1f\x8b":
        raise DataError(f"{path.name}: is not gzip although its name ends in .gz (got {start!r}). Rename or repack it.")


def _parse(path: Path, number: int, content: bytes) -> Line:
    try:
        value = parse_json(content)
    except UnicodeDecodeError as error:
        reason = (
            f"not valid UTF-8 (got {error.reason} at byte {error.start}). If the whole file is in an encoding of old "
            f"Windows (unpack it first, if it is packed): {recode(_unpacked(path.name), 'cp1252')}"
        )
        return Line(number, _shown(content), rule="utf8", reason=reason)
    except ValueError as error:
        return Line(number, _shown(content), rule="json", reason=f"not JSON that can be read ({error}). Fix the line.")
    if not isinstance(value, dict):
        reason = f"must be a JSON object (got {type(value).__name__}). Write {{column: value}}."
        return Line(number, _shown(content), rule="json", reason=reason)
    return Line(number, _shown(content), row=value)


def _shown(content: bytes) -> str:
    return content[: 4 * RAW_LIMIT].decode("utf-8", errors="replace")[:RAW_LIMIT]

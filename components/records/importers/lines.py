"""Raw rows of a file, with their line numbers. A broken line is a quarantine row, a broken file is an error."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import ArtifactError, DataError
from components.records.importers.options import RAW_LIMIT

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Line:
    """One non-blank line: the JSON object in it, or which rule it breaks and why."""

    number: int
    raw: str
    row: dict[str, Any] | None = None
    rule: str = ""
    reason: str = ""


def usable_files(path: Path, pattern: str = "**/*") -> list[Path]:
    """The file itself, or the importable files of a folder in sorted order. Raises ArtifactError if there are none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ArtifactError(f"{path}: no such file or folder. Check the path.")
    found = sorted(p for p in path.glob(pattern) if p.is_file() and p.name.endswith(SUFFIXES))
    if not found:
        raise ArtifactError(
            f"{path}: no usable file matches '{pattern}' (got {sum(1 for _ in path.iterdir())} entries). "
            f"Put {', '.join(SUFFIXES)} files in it."
        )
    return found


def read(path: Path) -> Iterator[Line]:
    """The rows of a .jsonl, .jsonl.gz or .parquet file. Blank lines carry nothing and are skipped.

    Raises DataError where the file as a whole cannot be read (not gzip, cut-off gzip, not Parquet, unknown suffix).
    """
    if path.name.endswith(".parquet"):
        yield from _parquet(path)
    elif path.name.endswith(SUFFIXES):
        yield from _json_lines(path)
    else:
        raise DataError(f"{path.name}: cannot read this kind of file. Use one of {', '.join(SUFFIXES)}.")


def _json_lines(path: Path) -> Iterator[Line]:
    if path.suffix == ".gz":
        _check_gzip(path)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                content = raw.removeprefix(_BOM) if number == 1 else raw
                if content.strip():
                    yield _parse(number, content.rstrip(b"\r\n"))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name}: the gzip data is cut off or damaged ({error}). Copy the file again.") from None


def _check_gzip(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(2)
    if start != b"\x1f\x8b":
        raise DataError(f"{path.name}: is not gzip although its name ends in .gz (got {start!r}). Rename or repack it.")


def _parse(number: int, content: bytes) -> Line:
    shown = content.decode("utf-8", errors="replace")[:RAW_LIMIT]
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        return Line(number, shown, rule="utf8", reason=f"not valid UTF-8 (got {error.reason} at byte {error.start}).")
    except (ValueError, RecursionError) as error:
        return Line(number, shown, rule="json", reason=f"not a JSON value (got {error}). Is the line cut off?")
    if not isinstance(value, dict):
        return Line(number, shown, rule="json", reason=f"must be a JSON object (got {type(value).__name__}).")
    return Line(number, shown, row=value)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _parquet(path: Path) -> Iterator[Line]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path.name}: is not a Parquet file ({error}). Copy the file again.") from None
    number = 0
    with file:
        for batch in file.iter_batches(batch_size=1000):
            for row in batch.to_pylist():
                number += 1
                present = {key: value for key, value in row.items() if value is not None}  # null = absent in a column
                yield Line(number, repr(present)[:RAW_LIMIT], row=present)

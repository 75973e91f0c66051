"""Records on disk: JSON lines (plain or gzip) and Parquet, one column per top-level field."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from components.contract.json_text import parse_json
from components.errors import ArtifactError, RecordError
from components.records.schema import FIELDS, Record

_TEXT_COLUMNS = ("record_id", "schema_version")
_BATCH = 10_000


def to_line(value: Any) -> str:
    """One JSON line without the newline; refuses NaN and lone surrogates nowhere else can read."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


@contextmanager
def _open_write(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as plain:
        if path.suffix != ".gz":
            yield plain
            return
        # no file name and no time in the header, so that the same records give the same bytes
        with gzip.GzipFile(filename="", fileobj=plain, mode="wb", mtime=0) as packed:
            yield cast("IO[bytes]", packed)


def write_lines(path: Path, rows: Iterable[Any]) -> int:
    """Write JSON lines (UTF-8; gzip if the name ends in .gz); returns how many."""
    count = 0
    with _open_write(path) as stream:
        for row in rows:
            stream.write(to_line(row).encode("utf-8") + b"\n")
            count += 1
    return count


def read_lines(path: Path) -> Iterator[Any]:
    """Read JSON lines written by `write_lines`. Raises RecordError with file and line, ArtifactError if not there or
    not whole."""
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file. Check the path, or run the step that makes it.")
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                if raw.strip():
                    yield _line(path, number, raw)
    except (EOFError, zlib.error, OSError) as error:
        raise ArtifactError(f"{path}: cut off or damaged ({error}). Rerun the step that makes it.") from error


def _line(path: Path, number: int, raw: bytes) -> Any:
    try:
        return parse_json(raw)
    except ValueError as error:
        raise RecordError(
            f"{path}:{number}: not a JSON line ({error}). Import foreign files with human_feedback.",
            rule="json",
            file=str(path),
            line=number,
        ) from error


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The mapping in a JSON file of an artifact. Raises ArtifactError, which ends with the remedy."""
    try:
        found = parse_json(path.read_bytes())
    except (ValueError, OSError) as error:
        raise ArtifactError(f"{path}: not JSON that can be read ({error}). {remedy}") from error
    if not isinstance(found, dict):
        raise ArtifactError(f"{path}: must be a mapping (got {type(found).__name__}). {remedy}")
    return found


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write records as .jsonl, .jsonl.gz or .parquet (by suffix); returns how many."""
    if path.suffix == ".parquet":
        return write_parquet(path, records)
    return write_lines(path, records)


def read_records(path: Path) -> Iterator[Record]:
    """Read records from .jsonl, .jsonl.gz or .parquet (by suffix). They are not validated."""
    if path.suffix == ".parquet":
        return read_parquet(path)
    return read_lines(path)


def write_parquet(path: Path, records: Iterable[Record]) -> int:
    """One column per top-level field; ids are text, nested values JSON text. Refuses fields it has no column for."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, pa.string()) for name in FIELDS])
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        batch: list[dict[str, str | None]] = []
        for record in records:
            batch.append(_to_row(record))
            count += 1
            if len(batch) == _BATCH:
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
                batch = []
        if batch:
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    return count


def _to_row(record: Record) -> dict[str, str | None]:
    unknown = set(record) - set(FIELDS)
    if unknown:
        raise RecordError(f"parquet: no column for {sorted(unknown)}. Validate the record first.", rule="structure")
    return {
        name: None if name not in record else record[name] if name in _TEXT_COLUMNS else to_line(record[name])
        for name in FIELDS
    }


def read_parquet(path: Path) -> Iterator[Record]:
    """The inverse of `write_parquet`. Raises ArtifactError for what is no such file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise ArtifactError(f"{path}: no such file. Check the path, or run the step that makes it.")
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    yield {
                        name: text if name in _TEXT_COLUMNS else parse_json(text)
                        for name, text in row.items()
                        if text is not None
                    }
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        what = " ".join(str(error).split())[:200]
        raise ArtifactError(
            f"{path}: holds no records that can be read ({what}). Import it with human_feedback."
        ) from error

"""Rows of a Parquet file: bounded, with values as JSON has them, and every fault of the library a named error."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.errors import DataError
from components.records.importers.limits import Limits, too_large

_ROWS = 1000
_BATCH_BYTES = 256 << 20  # what the texts of one batch may come to in memory


def parquet_rows(path: Path, limits: Limits) -> Iterator[dict[str, Any]]:
    """Every row; a null is absent. Raises DataError."""
    import pyarrow as pa

    try:
        yield from _rows(path, limits)
    except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, KeyError) as error:
        what = " ".join(str(error).replace(str(path), path.name).split())[:200]
        raise DataError(
            f"{path.name}: is not a Parquet file, or a damaged one ({what}). Copy the file again, or give it the "
            "name of what it is."
        ) from None


def _rows(path: Path, limits: Limits) -> Iterator[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        _check(path, file, limits)
        texts = [
            field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        ]
    # texts stay indices into their dictionary until their length is known: a few bytes may stand for gigabytes
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(batch_size=_ROWS):
            for part in _parts(path, batch, limits):
                for row in part.to_pylist():
                    yield {key: _plain(value) for key, value in row.items() if value is not None}


def _check(path: Path, file: Any, limits: Limits) -> None:
    names = file.schema_arrow.names
    if len(names) > limits.columns:
        raise too_large(path.name, f"has {len(names)} columns, more than {limits.columns}", "columns")
    if twice := {name for name in names if names.count(name) > 1}:
        raise DataError(f"{path.name}: column {min(twice)!r} stands twice. Rename one of them.")
    meta = file.metadata
    size = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    limits.check_size(path.name, size, path.stat().st_size)


def _parts(path: Path, batch: Any, limits: Limits) -> Iterator[Any]:
    """The batch in pieces that fit in memory as Python values."""
    import pyarrow as pa
    import pyarrow.compute as pc

    row_bytes = [0] * batch.num_rows
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = pc.fill_null(pc.take(pc.binary_length(column.dictionary), column.indices), 0).to_pylist()
            row_bytes = [total + length for total, length in zip(row_bytes, lengths, strict=True)]
    if max(row_bytes, default=0) > limits.line_bytes:
        raise too_large(path.name, f"a row is longer than {limits.line_mib} MiB", "line_mib")
    start = size = 0
    for end, length in enumerate(row_bytes):
        if size + length > _BATCH_BYTES and end > start:
            yield batch.slice(start, end - start)
            start, size = end, 0
        size += length
    if batch.num_rows > start:
        yield batch.slice(start)


def _plain(value: Any) -> Any:
    """A value as JSON would have it."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value

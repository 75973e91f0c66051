"""The importer of a file, told by the columns of all rows that are looked at, not of the first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from components.errors import DataError
from components.records.importers.limits import DEFAULT, Limits
from components.records.importers.lines import Line, read
from components.records.importers.table import IMPORTERS

AUTO_NAME = "auto"
LOOK = 1000
"""Rows that auto-detection looks at; those behind them are compared with what it found one by one."""
_ODD = 0.01  # share of rows of another format above which a file is refused


@cache
def _recognisers() -> dict[str, Callable[[dict[str, Any]], bool]]:
    return {row.name: row.extra("matches") for row in IMPORTERS if row.name != AUTO_NAME}


@IMPORTERS.row(
    name="auto",
    revision=5,
    method="CONV-14",
    source="",
    summary="Not a format: the importer is told by the columns of all rows looked at, file by file.",
    columns="those of one of the other importers",
    matches=None,
    known=None,
)
def detect(path: Path, limits: Limits = DEFAULT) -> str:
    """The importer of a file by the columns of its first thousand readable rows.

    Raises DataError if no importer knows them, or rows could be of several, or more than one in a hundred is of another
    format than the others. Its revision is raised with that of any other importer.
    """
    return choose(path.name, list(islice(read(path, limits), LOOK)))


def other_formats(row: dict[str, Any], told: str) -> list[str]:
    """The importers that recognise a row, if `told` does not."""
    return [] if _recognisers()[told](row) else _formats_of(row)


def _formats_of(row: dict[str, Any]) -> list[str]:
    return [name for name, matches in _recognisers().items() if matches(row)]


def choose(name: str, lines: Sequence[Line]) -> str:
    """See `detect`; `lines` are the first ones of the file `name`."""
    found: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for line in lines:
        if line.row is not None:
            found[tuple(_formats_of(line.row))].append(line.number)
    known = {formats: rows for formats, rows in found.items() if formats}
    if not known:
        raise _unknown(name, lines)
    (formats, rows), *others = sorted(known.items(), key=lambda item: -len(item[1]))
    if len(formats) > 1:
        raise DataError(f"{name}: the format could be any of {', '.join(formats)}. Pass format.name=NAME.")
    if others and sum(len(odd) for _, odd in others) > _ODD * sum(map(len, known.values())):
        (odd_formats, odd), *_ = others
        raise DataError(
            f"{name}: its rows are of more than one format ({formats[0]}: {len(rows)} rows, such as line {rows[0]}; "
            f"{' or '.join(odd_formats)}: {len(odd)} rows, such as line {odd[0]}). Put each "
            f"format into a file of its own, or pass format.name={formats[0]}, which quarantines the others."
        )
    return formats[0]


def _unknown(name: str, lines: Sequence[Line]) -> DataError:
    rows = [line for line in lines if line.row is not None]
    if not rows:
        bad = "".join(f" Line {line.number}: {line.reason}" for line in lines[:1])
        return DataError(
            f"{name}: none of its first {len(lines)} lines can be read as a JSON object.{bad or ' Give one a line.'}"
        )
    known = "; ".join(f"{row.name}: {row.facts['columns']}" for row in IMPORTERS if row.name != AUTO_NAME)
    got = ", ".join(sorted(map(str, rows[0].row or {}))) or "none"
    return DataError(
        f"{name}: the format is not recognised (got columns {got[:300]}). Name the columns as a format "
        f"does, or pass format.name=NAME. Known: {known}."
    )

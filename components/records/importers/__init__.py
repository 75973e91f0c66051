"""Native files of the field to records. A bad line becomes a `Quarantined` row, a bad file an error; none is lost.

An importer is a row of the table IMPORTERS: `@IMPORTERS.row(..., matches=is_x)` on its function, in a file here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from components.contract.params import Choice
from components.errors import DataError, RecordError
from components.records.importers.lines import Line, read, usable_files
from components.records.importers.options import Options, Quarantined
from components.records.importers.table import IMPORTERS
from components.records.rules import validate
from components.records.schema import Record

__all__ = ["AUTO", "IMPORTERS", "IMPORT_RULES", "Options", "Quarantined", "detect", "import_file", "usable_files"]

IMPORT_RULES = {
    "json": "A line is one JSON object.",
    "utf8": "A line is UTF-8.",
    "missing_column": "Every column that the format needs is there.",
    "unknown_column": "There is no column that the format does not know.",
    "wrong_type": "A column holds the type that the format says.",
    "wrong_value": "A column holds one of the values that the format allows.",
    "blank_text": "A text is not blank.",
    "no_prompt": "There is a prompt.",
    "prompts_differ": "Chosen and rejected answer the same prompt.",
    "last_turn_not_assistant": "A dialogue ends with the answer.",
    "columns_agree": "Columns that say the same thing say the same.",
    "time_order": "The answer with more votes was not there earlier.",
    "canonical_json": "Every text is valid Unicode and every number finite.",
}
"""What a native line must be, beside the rules of the record it becomes."""

Convert = Callable[[dict[str, Any], Options], Record]
AUTO = Choice("auto")
_LOOK = 20  # readable lines that auto-detection looks at


@cache
def _recognisers() -> dict[str, Callable[[dict[str, Any]], bool]]:
    return {row.name: row.extra("matches") for row in IMPORTERS if row.name != AUTO.name}


@IMPORTERS.row(
    name="auto",
    method="CONV-14",
    source="",
    summary="Not a format: the importer is told by the columns, file by file.",
    columns="those of one of the other importers",
    matches=None,
)
def detect(path: Path) -> str:
    """The importer of a file by the columns of its first readable line that any importer recognises.

    Raises DataError if none does, or more than one. Its revision is raised with that of any other importer.
    """
    columns: list[str] = []
    for line in islice((line for line in read(path) if line.row is not None), _LOOK):
        assert line.row is not None
        columns = columns or sorted(line.row)
        names = [name for name, matches in _recognisers().items() if matches(line.row)]
        if len(names) > 1:
            raise DataError(f"{path.name}: the format could be any of {', '.join(names)}. Pass format.name=NAME.")
        if names:
            return names[0]
    got = f"columns {', '.join(columns)}" if columns else "no line that is a JSON object"
    known = "; ".join(f"{row.name}: {row.facts['columns']}" for row in IMPORTERS if row.name != AUTO.name)
    raise DataError(f"{path.name}: the format is not recognised (got {got}). Pass format.name=NAME. Known: {known}.")


def import_file(path: Path | str, format: Choice = AUTO, **options: Any) -> Iterator[Record | Quarantined]:
    """Every non-blank line of a file, or of a folder's files in sorted order, as a valid record or a `Quarantined` row.

    `format`: a row of IMPORTERS with its knobs. `options`: the fields of `Options`, and `pattern`, a glob for the files
    of a folder. Raises ArtifactError (nothing there), DataError (a file as a whole is unreadable or of no known
    format), ParamsError (unknown importer or option).
    """
    root, pattern = Path(path), options.pop("pattern", "**/*")
    facts = Options.of(options)
    convert = None if format.name == AUTO.name else IMPORTERS.bind(format)
    return _import(root, convert, facts, pattern)


def _import(root: Path, convert: Convert | None, facts: Options, pattern: str) -> Iterator[Record | Quarantined]:
    for file in usable_files(root, pattern):
        name = file.relative_to(root).as_posix() if root.is_dir() else file.name
        chosen = convert or IMPORTERS[detect(file)].load()
        own = facts.for_file(name)
        for line in read(file):
            yield _convert(name, line, chosen, own)


def _convert(file: str, line: Line, convert: Convert, facts: Options) -> Record | Quarantined:
    if line.row is None:
        return Quarantined(file, line.number, "", line.rule, f"{file}:{line.number}: {line.reason}", line.raw)
    try:
        record = convert(line.row, facts)
        validate(record)
    except RecordError as error:
        reason = f"{file}:{line.number}: {error}"
        return Quarantined(file, line.number, error.field, error.rule, reason, line.raw)
    return record

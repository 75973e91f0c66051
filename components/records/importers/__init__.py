"""Native files of the field to records. A bad line becomes a `Quarantined` row, a bad file an error; none is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from components.errors import DataError, ParamsError, RecordError, nearest
from components.records.importers.labels import is_labels, is_record, labels, records
from components.records.importers.lines import Line, read, usable_files
from components.records.importers.options import Options, Quarantined
from components.records.importers.pairs import hh, is_hh, is_trl, trl
from components.records.rules import validate
from components.records.schema import Record

__all__ = ["FORMATS", "IMPORT_RULES", "Format", "Options", "Quarantined", "detect", "import_file", "usable_files"]

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
    "canonical_json": "Every text is valid Unicode and every number finite.",
}
"""What a native line must be, beside the rules of the record it becomes."""

_LOOK = 20  # readable lines that auto-detection looks at


@dataclass(frozen=True)
class Format:
    """How to recognise a native row, and how to make a record of it (raising RecordError where it is bad)."""

    matches: Callable[[dict[str, Any]], bool]
    convert: Callable[[dict[str, Any], Options], Record]
    columns: str


FORMATS: dict[str, Format] = {
    "records": Format(is_record, records, "preflow records (task, candidates, judgments, ...)"),
    "labels": Format(is_labels, labels, "one vote per line (prompt, response_a, response_b, annotator, choice)"),
    "hh": Format(is_hh, hh, "HH-RLHF dialogues (chosen, rejected starting with '\\n\\nHuman:')"),
    "trl": Format(is_trl, trl, "TRL pairs (chosen, rejected, and prompt or a shared start)"),
}


def _known() -> str:
    return "; ".join(f"{name}: {fmt.columns}" for name, fmt in FORMATS.items())


def detect(path: Path) -> str:
    """The format of a file by the columns of its first readable line that any format recognises. Raises DataError."""
    columns: list[str] = []
    for line in islice((line for line in read(path) if line.row is not None), _LOOK):
        assert line.row is not None
        columns = columns or sorted(line.row)
        for name, fmt in FORMATS.items():
            if fmt.matches(line.row):
                return name
    got = f"columns {', '.join(columns)}" if columns else "no line that is a JSON object"
    raise DataError(f"{path.name}: the format is not recognised (got {got}). Pass format=NAME. Known: {_known()}.")


def import_file(path: Path | str, format: str = "auto", **options: Any) -> Iterator[Record | Quarantined]:
    """Every non-blank line of a file, or of a folder's files in sorted order, as a valid record or a `Quarantined` row.

    `format`: auto (by content, per file) or a key of FORMATS. `options`: the fields of `Options`, and `pattern`, a glob
    for the files of a folder. Raises ArtifactError (nothing there), DataError (a file as a whole is unreadable or of no
    known format), ParamsError (unknown format or option).
    """
    root = Path(path)
    if format != "auto" and format not in FORMATS:
        raise ParamsError(f"format: no such format (got '{format}').{nearest(format, [*FORMATS, 'auto'])}")
    pattern = options.pop("pattern", "**/*")
    facts = Options.of(options)
    return _import(root, format, facts, pattern)


def _import(root: Path, format: str, facts: Options, pattern: str) -> Iterator[Record | Quarantined]:
    for file in usable_files(root, pattern):
        name = file.relative_to(root).as_posix() if root.is_dir() else file.name
        chosen = FORMATS[detect(file) if format == "auto" else format]
        own = facts.for_file(name)
        for line in read(file):
            yield _convert(name, line, chosen, own)


def _convert(file: str, line: Line, chosen: Format, facts: Options) -> Record | Quarantined:
    if line.row is None:
        return Quarantined(file, line.number, "", line.rule, f"{file}:{line.number}: {line.reason}", line.raw)
    try:
        record = chosen.convert(line.row, facts)
        validate(record)
    except RecordError as error:
        reason = f"{file}:{line.number}: {error}"
        return Quarantined(file, line.number, error.field, error.rule, reason, line.raw)
    return record

"""Native files of the field to records. A bad line becomes a `Quarantined` row, a bad file an error; none is lost.

An importer is a row of the table IMPORTERS: `@IMPORTERS.row(..., matches=is_x, known=COLUMNS)` on its function, in a
file here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from components.contract.params import Choice
from components.errors import RecordError
from components.records.importers.detection import AUTO_NAME, LOOK, choose, detect, other_formats
from components.records.importers.folder import Found, shown, usable_files
from components.records.importers.limits import Limits
from components.records.importers.lines import Line, read
from components.records.importers.options import Options, Quarantined
from components.records.importers.table import IMPORTERS
from components.records.rules import validate
from components.records.schema import Record

__all__ = [
    "AUTO",
    "IMPORTERS",
    "IMPORT_RULES",
    "About",
    "Found",
    "Limits",
    "Options",
    "Quarantined",
    "detect",
    "import_one",
    "shown",
    "usable_files",
]

IMPORT_RULES = {
    "json": "A line is one JSON object, no key stands twice in it, and its numbers are finite.",
    "utf8": "A line is UTF-8.",
    "missing_column": "Every column that the format needs is there.",
    "unknown_column": "There is no column, unknown to the format, whose name says that it means something.",
    "wrong_type": "A column holds the type that the format says.",
    "wrong_value": "A column holds one of the values that the format allows.",
    "other_format": "A row is of the format of the other rows.",
    "blank_text": "A text is not blank.",
    "missing_value": "A text is not the word for a missing value (nan).",
    "not_iso_8601": "A time is written as ISO 8601 says.",
    "no_prompt": "There is a prompt.",
    "prompts_differ": "Chosen and rejected answer the same prompt, the one in the prompt column.",
    "last_turn_not_assistant": "A dialogue ends with the answer, and a prompt does not.",
    "columns_agree": "Columns that say the same thing say the same.",
    "time_order": "The answer with more votes was not there earlier.",
    "canonical_json": "Every text is valid Unicode and every number finite.",
}
"""What a native line must be, beside the rules of the record it becomes."""

Convert = Callable[[dict[str, Any], Options], Record]
AUTO = Choice(AUTO_NAME)
_SAME_PROMPT = 5  # records from which on one prompt for all of them is worth a word


@dataclass
class About:
    """What importing a file found beside its rows; complete when the last row was taken."""

    format: str = ""
    left_aside: Counter[str] = field(default_factory=Counter)
    """rows in which a column that the format does not know was left aside, by column"""
    n_records: int = 0
    prompts_differ: bool = False
    prompt: Any = None
    """messages of the first record"""

    def add(self, record: Record, left_aside: Iterable[str]) -> None:
        """Count a record and the columns of its row that were left aside."""
        self.n_records += 1
        self.left_aside.update(left_aside)
        messages = record["task"]["messages"]
        self.prompt = messages if self.n_records == 1 else self.prompt
        self.prompts_differ = self.prompts_differ or messages != self.prompt

    @property
    def one_prompt(self) -> bool:
        """All records have the same prompt: it may be but a part of what the file meant."""
        return not self.prompts_differ and self.n_records >= _SAME_PROMPT


def import_one(
    file: Path, name: str, format: Choice, facts: Options, limits: Limits, about: About
) -> Iterator[Record | Quarantined]:
    """Every non-blank line of a file, called `name`, as a valid record or a `Quarantined` row; fills `about`.

    `format`: a row of IMPORTERS with its knobs. Raises ArtifactError (nothing there), DataError (the file as a whole is
    unreadable or of no known format), ParamsError (unknown importer).
    """
    lines = read(file, limits)
    looked = list(islice(lines, LOOK))
    told = format.name == AUTO.name
    about.format = choose(name, looked) if told else format.name
    row = IMPORTERS[about.format]
    convert, known = (row.load() if told else IMPORTERS.bind(format)), frozenset(row.extra("known"))
    for line in chain(looked, lines):
        made = _convert(name, line, convert, facts, about.format if told else "")
        if not isinstance(made, Quarantined):
            about.add(made, (key for key in line.row or () if key not in known))
        yield made


def _convert(file: str, line: Line, convert: Convert, facts: Options, told: str) -> Record | Quarantined:
    if line.row is None:
        return Quarantined(file, line.number, "", line.rule, f"{file}:{line.number}: {line.reason}", line.raw)
    try:
        if told and (others := other_formats(line.row, told)):
            what = f"the row is of the format {others[0]}, the file of {told}. Put it into a file of its own."
            raise RecordError(what, rule="other_format")
        record = convert(line.row, facts)
        validate(record)
    except RecordError as error:
        reason = f"{file}:{line.number}: {error}"
        return Quarantined(file, line.number, error.field, error.rule, reason, line.raw)
    return record

"""The table of importers: each makes records of the rows of one native format."""

from __future__ import annotations

from components.contract.table import Table

IMPORTERS = Table(
    "importers",
    "importer",
    "components.records.importers",
    "How a row of a native file becomes a feedback record: a pure function `(row, options) -> Record` that raises "
    "RecordError for a bad row. `matches(row)` recognises the format by its columns; a column that is not `known` is "
    "left aside and counted, unless its name says that it means something.",
    appendix="components.records.importers.table:markdown",
    facts=("method", "source", "columns", "matches", "known"),
)


def markdown() -> list[str]:
    """What holds for all importers, for their page."""
    return ["## What a file may be", "", *_RULES.splitlines(), ""]


_RULES = """\
- One JSON object a line in UTF-8 (`.jsonl`, `.jsonl.gz`), or Parquet. A byte order mark, Windows line ends and blank
  lines are no fault. Anything else (UTF-16, one array, pretty-printed JSON, a table, a Git LFS pointer, a web page, a
  key that stands twice) is refused with the cause and, where there is one, a command that mends the file. No encoding
  is guessed.
- The format is told by the first thousand rows. If more than one in a hundred is of another format, the file is
  refused with a row of each; fewer are quarantined, as are such rows further on (rule `other_format`).
- A null is an absent value. Columns that a format does not know are left aside and counted, unless their name says
  that they mean something (`system`, `images`, `tools`) or is nearly that of a missing column: then the row is
  quarantined, until the column stands in `human_feedback.ignore_columns`. Messages may be text that a table made.
- Of a folder, hidden files, copies of editors and second copies of a file are left out; what cannot be read is set
  aside (`bad_files`). `summary.json` lists both with the reasons, the format of every file, and findings such as one
  prompt for all rows. Pipes, links out of the folder (but to the caches of DVC and the Hugging Face hub) and patterns
  that leave it are refused. Sizes are bounded by `human_feedback.limits`."""

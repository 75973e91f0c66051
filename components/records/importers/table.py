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
    facts=("method", "source", "columns", "matches", "known"),
)

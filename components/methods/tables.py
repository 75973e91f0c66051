"""The tables by name. A table that is not here cannot be listed, documented or checked: tests/house looks for it."""

from __future__ import annotations

from components.contract.table import Table
from components.heuristics.table import RULES
from components.judges.table import JUDGES, PROMPT_CONTRACTS, SOURCES
from components.measures.table import MEASURES
from components.objectives.table import BATCH_STATISTICS, OBJECTIVES
from components.preference_models.table import PREFERENCE_MODELS
from components.records.conversions import CONVERSIONS
from components.records.importers.table import IMPORTERS
from components.selftest.table import SILENT_BUGS
from components.sequences.table import VIEWS
from components.training.tables import REFERENCES
from components.votes.table import AGGREGATIONS, AGREEMENTS

ALL = (
    IMPORTERS,
    CONVERSIONS,
    AGGREGATIONS,
    AGREEMENTS,
    VIEWS,
    JUDGES,
    PROMPT_CONTRACTS,
    SOURCES,
    RULES,
    PREFERENCE_MODELS,
    OBJECTIVES,
    BATCH_STATISTICS,
    REFERENCES,
    MEASURES,
    SILENT_BUGS,
)
TABLES: dict[str, Table] = {table.name: table for table in ALL}

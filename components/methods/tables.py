"""The tables by name. A table that is not here cannot be listed, documented or checked: tests/house looks for it."""

from __future__ import annotations

from components.contract.table import Table
from components.objectives.table import BATCH_STATISTICS, OBJECTIVES
from components.preference_models.table import PREFERENCE_MODELS
from components.sequences.table import VIEWS
from components.training.tables import REFERENCES

TABLES: dict[str, Table] = {
    table.name: table for table in (OBJECTIVES, BATCH_STATISTICS, REFERENCES, PREFERENCE_MODELS, VIEWS)
}

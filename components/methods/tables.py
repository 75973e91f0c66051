"""The tables by name. A table that is not here cannot be listed, documented or checked: tests/house looks for it."""

from __future__ import annotations

from components.contract.table import Table
from components.heuristics.table import RULES
from components.judges.table import JUDGES, PROMPT_CONTRACTS, SOURCES
from components.measures.table import MEASURES
from components.objectives.table import OBJECTIVES
from components.preference_models.table import PREFERENCE_MODELS
from components.sequences.table import VIEWS

ALL = (JUDGES, MEASURES, OBJECTIVES, PREFERENCE_MODELS, PROMPT_CONTRACTS, RULES, SOURCES, VIEWS)
TABLES: dict[str, Table] = {table.name: table for table in ALL}

"""The tables of aggregation rules and of agreement statistics. NumPy-free, unlike the files of the rows."""

from __future__ import annotations

from components.contract.table import Table

AGGREGATIONS = Table(
    "aggregations",
    "aggregation",
    "components.votes",
    "How several votes on one comparison become one verdict: a pure function of all polls of a group of annotators (a "
    "poll is the votes on one comparison, skips left out), one decision per poll.",
    facts=("method", "source"),
)

AGREEMENTS = Table(
    "agreements",
    "agreement statistic",
    "components.votes",
    "How far the annotators of one kind agree, and what sways them: a pure function of `units` (the outcomes that each "
    "comparison was given), `polls` (with who gave them) or `votes` (with what was shown), which gives an estimate.",
    facts=("method", "source", "label"),
)

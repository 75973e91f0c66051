"""The table of rules. Torch-free."""

from __future__ import annotations

from components.contract.table import Table

RULES = Table(
    "rules",
    "rule",
    "components.heuristics.rules",
    "What can be said about the samples of a prompt without asking anybody. A rule takes what it names: `group` (the "
    "samples of one prompt), `pairs` (those of its pairs that differ), `scores` (one per sample of the group, from the "
    "input of that name), `pool` (all samples).",
    facts=("method", "source"),
)

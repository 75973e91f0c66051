"""The table of objectives and the families they belong to. Torch-free, unlike the files of the rows."""

from __future__ import annotations

from components.contract.table import Table

FAMILIES = ("pair", "unpaired", "demonstration", "reward")
"""What an example is: a comparison, a labelled completion, a demonstration, a comparison scored by a reward model."""

OBJECTIVES = Table(
    "objectives",
    "objective",
    "components.objectives",
    "How feedback becomes a loss: a pure function of named quantities, one loss per example.",
    facts=("family", "method", "source", "equation"),
    appendix="components.objectives.quantities:markdown",
)

"""What training chooses by name. Torch-free, unlike the files of the rows."""

from __future__ import annotations

from components.contract.table import Table

REFERENCES = Table(
    "references",
    "reference",
    "components.training.references",
    "The model that an objective compares the policy with: where its numbers come from, and whether it moves.",
)

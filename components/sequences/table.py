"""The table of views: what an example of each shape of feedback is. Torch-free."""

from __future__ import annotations

from components.contract.table import Table

VIEWS = Table(
    "views",
    "view",
    "components.sequences.views",
    "What an example is made of: which sequences in which roles, and which numbers the feedback gives.",
    facts=("roles", "given", "ties"),
)
"""Facts of a row:

`roles`: {role: "one" or "many"}: how many sequences of that role an example has; quantities of a role that is there
many times are [B, K] with a mask, of the others [B].
`given`: {name: kind}: numbers that stand in the feedback; a name that begins with a role is one number per sequence of
that role. Kinds are those of `components.objectives.quantities`.
`ties`: the given number that makes a tie worth keeping, for objectives that take it; "" where there is none.
"""

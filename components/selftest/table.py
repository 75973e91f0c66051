"""The table of planted faults. A row makes one input of a project wrong; its facts say where that must be named."""

from __future__ import annotations

from components.contract.table import Table

SILENT_BUGS = Table(
    "silent_bugs",
    "fault",
    "components.selftest",
    "Faults that go wrong in silence elsewhere, planted by `preflow selftest`: `stage` is the step that must name it, "
    "before anything is optimized, `rule` the rule, flag, or words of the message by which it does. A fault without a "
    "rule is a known gap: nothing names it yet.",
    facts=("stage", "rule"),
)

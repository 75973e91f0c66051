"""The tables of objectives and of what they measure of a whole batch. Torch-free, unlike the files of the rows."""

from __future__ import annotations

from components.contract.table import Table

FAMILIES = ("policy", "reward")
"""What an objective trains: a policy, or a preference model that gives rewards."""

OBJECTIVES = Table(
    "objectives",
    "objective",
    "components.objectives",
    "How feedback becomes a loss: a pure function of named quantities, one loss per example.",
    facts=("family", "view", "method", "source", "equation"),
    appendix="components.objectives.quantities:markdown",
)
"""Facts of a row beside the common ones:

`family`: see FAMILIES. `view`: the row of VIEWS whose examples it reads. `equation`: the loss in one line.
`claims`: what the battery measures (`claims.py`). `reward`: the implicit reward of one sequence, a function of measures
without their role (`logps`, `ref_logps`, `lengths`) and of the objective's knobs; without it no reward is logged.
`trains`: {name: start}: numbers that are trained beside the model; the objective takes them by name.
"""

BATCH_STATISTICS = Table(
    "batch_statistics",
    "batch statistic",
    "components.objectives.batch_statistics",
    "Numbers of a whole global batch that an objective takes, some with a memory that lies in the checkpoint.",
    facts=("view", "kind", "source"),
)
"""Arguments of a row are float64 arrays over the global batch, under names of the vocabulary. `state`, if it is the
first, is what the last batch left (`state={...}` is where it starts), and the row returns (value, state), else the
value.
`on`: a function from the examples of the batch to those that are measured; without it they are the batch itself.
`logged`: the name in the log, where dashboards know another one.
"""

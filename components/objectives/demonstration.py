"""Objectives on demonstrations: completions to imitate. Tensors are [B]; the result is one loss per row."""

from __future__ import annotations

from torch import Tensor

from components.objectives.claims import decreases
from components.objectives.numerics import token_mean
from components.objectives.table import OBJECTIVES


@OBJECTIVES.row(
    family="policy",
    view="demonstration",
    method="PO-70",
    source="maximum likelihood on demonstrations",
    equation="-S / n",
    claims=(decreases("completion_logps"),),
    departures="Rows are averaged (each row by its own token mean), not tokens: a long answer weighs no more.",
)
def sft(completion_logps: Tensor, completion_lengths: Tensor) -> Tensor:
    """Negative log-likelihood per token of the completion (nats)."""
    return -token_mean(completion_logps, completion_lengths)

"""Objectives on pairs without a reference model. Tensors are [B]; the result is one loss per pair."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from components.contract.ranges import NonNegative
from components.objectives.claims import Reduction, decreases, increases
from components.objectives.numerics import log1mexp, token_mean
from components.objectives.table import OBJECTIVES


@OBJECTIVES.row(
    family="pair",
    method="PO-33",
    source="Hong et al. 2024, ORPO, eq. 6-7",
    equation="-m_w - lam log sigmoid((m_w - m_l) - (log1mexp(m_w) - log1mexp(m_l))), m = S / n",
    claims=(
        decreases("chosen_logps"),
        increases("rejected_logps"),
        Reduction(
            "sft",
            knobs={"lam": 0.0},
            rename={"completion_logps": "chosen_logps", "completion_lengths": "chosen_lengths"},
        ),
    ),
    departures="The NLL covers the completion only; released code covers the prompt too. lam is TRL's beta.",
)
def orpo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    lam: NonNegative = 0.1,
) -> Tensor:
    """NLL of the chosen completion per token, plus lam * -log sigmoid(log odds ratio).

    With m the mean log-probability of a token: log odds = m - log(1 - exp(m)).
    """
    chosen, rejected = token_mean(chosen_logps, chosen_lengths), token_mean(rejected_logps, rejected_lengths)
    log_odds_ratio = (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))
    return -chosen - lam * F.logsigmoid(log_odds_ratio)

"""Objectives on single completions that are desirable or not. Tensors are [B]; the result is one loss per row."""

from __future__ import annotations

import torch
from torch import Tensor

from components.contract.ranges import NonNegative, Positive
from components.objectives.claims import decreases, increases
from components.objectives.table import OBJECTIVES


@OBJECTIVES.row(
    family="unpaired",
    method="PO-50",
    source="Ethayarajh et al. 2024, KTO, eq. 8",
    equation="w (1 - sigmoid(beta (S - R - z0))) if desirable, else w (1 - sigmoid(beta (z0 - S + R)))",
    claims=(
        decreases("completion_logps", desirable=1),
        increases("completion_ref_logps", "reference_kl", desirable=1),
        increases("completion_logps", desirable=0),
        decreases("completion_ref_logps", "reference_kl", desirable=0),
    ),
)
def kto(
    completion_logps: Tensor,
    completion_ref_logps: Tensor,
    desirable: Tensor,
    reference_kl: Tensor,
    *,
    beta: Positive = 0.1,
    desirable_weight: NonNegative = 1.0,
    undesirable_weight: NonNegative = 1.0,
) -> Tensor:
    """weight * (1 - sigmoid(+-beta (log-ratio - reference_kl))), + if desirable and - if not.

    Keep desirable_weight * n_desirable / (undesirable_weight * n_undesirable) between 1 and 4/3.
    """
    reward = beta * (completion_logps - completion_ref_logps - reference_kl)
    gain = desirable_weight * torch.sigmoid(-reward)
    loss = undesirable_weight * torch.sigmoid(reward)
    return torch.where(desirable > 0.5, gain, loss)

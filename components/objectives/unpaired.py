"""Objectives on single completions that are desirable or not. Tensors are [B]; the result is one loss per row."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from components.contract.ranges import NonNegative, Positive
from components.objectives import rewards
from components.objectives.claims import decreases, increases
from components.objectives.table import OBJECTIVES


@OBJECTIVES.row(
    family="policy",
    view="unpaired",
    reward=rewards.log_ratio,
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


@OBJECTIVES.row(
    family="policy",
    view="unpaired",
    method="PO-51",
    source="Jung et al. 2024, Binary Classifier Optimization, eq. 8",
    equation="-log sigmoid(beta (S - R) - d) if desirable, else -log sigmoid(d - beta (S - R)), d = beta mean(S - R)",
    reward=rewards.log_ratio,
    claims=(
        decreases("completion_logps", desirable=1),
        increases("completion_ref_logps", "mean_log_ratio", desirable=1),
        increases("completion_logps", desirable=0),
        decreases("completion_ref_logps", "mean_log_ratio", desirable=0),
    ),
    departures="The mean is over all rows so far, the batch itself first; no weights for shifted prompts (UDM).",
)
def bco(
    completion_logps: Tensor,
    completion_ref_logps: Tensor,
    desirable: Tensor,
    mean_log_ratio: Tensor,
    *,
    beta: Positive = 0.1,
) -> Tensor:
    """Logistic regression of desirable or not on the implicit reward, shifted by its running mean."""
    logit = beta * (completion_logps - completion_ref_logps - mean_log_ratio)
    return -F.logsigmoid(torch.where(desirable > 0.5, logit, -logit))

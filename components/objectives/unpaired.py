"""Objectives on single completions that are desirable or not. Tensors are [B]; the result is one loss per row."""

from __future__ import annotations

import torch
from torch import Tensor


def kto(
    completion_logps: Tensor,
    completion_ref_logps: Tensor,
    desirable: Tensor,
    reference_kl: Tensor,
    *,
    beta: float = 0.1,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> Tensor:
    """weight * (1 - sigmoid(+-beta (log-ratio - reference_kl))), + if desirable and - if not.

    Keep desirable_weight * n_desirable / (undesirable_weight * n_undesirable) between 1 and 4/3.
    """
    reward = beta * (completion_logps - completion_ref_logps - reference_kl)
    gain = desirable_weight * torch.sigmoid(-reward)
    loss = undesirable_weight * torch.sigmoid(reward)
    return torch.where(desirable > 0.5, gain, loss)

"""Objectives on pairs with a reference model. Tensors are [B]; the result is one loss per pair.

`h` is how much more the policy prefers the chosen to the rejected completion than the reference does (nats).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from components.objectives.numerics import token_mean


def dpo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_ref_logps: Tensor,
    rejected_ref_logps: Tensor,
    *,
    beta: float = 0.1,
) -> Tensor:
    """-log sigmoid(beta h): logistic regression of the preference on the implicit reward difference."""
    h = (chosen_logps - chosen_ref_logps) - (rejected_logps - rejected_ref_logps)
    return -F.logsigmoid(beta * h)


def ipo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_ref_logps: Tensor,
    rejected_ref_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: float = 0.1,
) -> Tensor:
    """(h - 1 / (2 beta))^2 with h from log-ratios per token, so that long completions need no larger ratio."""
    chosen = token_mean(chosen_logps - chosen_ref_logps, chosen_lengths)
    rejected = token_mean(rejected_logps - rejected_ref_logps, rejected_lengths)
    return (chosen - rejected - 1 / (2 * beta)) ** 2


def ipo_sum(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_ref_logps: Tensor,
    rejected_ref_logps: Tensor,
    *,
    beta: float = 0.1,
) -> Tensor:
    """(h - 1 / (2 beta))^2 with h from summed log-ratios, as the paper writes it."""
    h = (chosen_logps - chosen_ref_logps) - (rejected_logps - rejected_ref_logps)
    return (h - 1 / (2 * beta)) ** 2

"""Objectives that fit a reward model on pairs. Tensors are [B]; the result is one loss per pair.

`d` is the difference of rewards, chosen minus rejected; sigmoid(d) is the modelled P(chosen is preferred).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def bradley_terry(chosen_scores: Tensor, rejected_scores: Tensor, *, centering: float = 0.0) -> Tensor:
    """-log sigmoid(d) + centering * (chosen + rejected)^2; the second term fixes the free offset of the rewards."""
    loss = -F.logsigmoid(chosen_scores - rejected_scores)
    return loss + centering * (chosen_scores + rejected_scores) ** 2


def bradley_terry_soft(chosen_scores: Tensor, rejected_scores: Tensor, preference_probability: Tensor) -> Tensor:
    """-p log sigmoid(d) - (1 - p) log sigmoid(-d): cross-entropy against a soft label; smallest at d = logit(p)."""
    d = chosen_scores - rejected_scores
    return -preference_probability * F.logsigmoid(d) - (1 - preference_probability) * F.logsigmoid(-d)


def bradley_terry_margin(
    chosen_scores: Tensor, rejected_scores: Tensor, margin: Tensor, *, scale: float = 1.0
) -> Tensor:
    """-log sigmoid(d - scale * margin): stronger preferences ask for a larger difference."""
    return -F.logsigmoid(chosen_scores - rejected_scores - scale * margin)

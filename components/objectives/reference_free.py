"""Objectives on pairs without a reference model. Tensors are [B]; the result is one loss per pair."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from components.objectives.numerics import log1mexp, token_mean


def orpo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    lam: float = 0.1,
) -> Tensor:
    """NLL of the chosen completion per token, plus lam * -log sigmoid(log odds ratio).

    With m the mean log-probability of a token: log odds = m - log(1 - exp(m)).
    """
    chosen, rejected = token_mean(chosen_logps, chosen_lengths), token_mean(rejected_logps, rejected_lengths)
    log_odds_ratio = (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))
    return -chosen - lam * F.logsigmoid(log_odds_ratio)

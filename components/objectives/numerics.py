"""Numerically safe pieces that several objectives share."""

from __future__ import annotations

import math

import torch
from torch import Tensor

_LARGEST = -1e-7  # log-probabilities closer to 0 than this count as this: log(1 - exp(0)) is -inf


def log1mexp(x: Tensor) -> Tensor:
    """log(1 - exp(x)) for x <= 0, exact for small and large |x|; x above -1e-7 is clamped and gets no gradient.

    `log1p(-exp(x))` alone is -inf (gradient NaN) at a probability of 1 and loses every digit near it.
    """
    x = x.clamp(max=_LARGEST)
    near_zero = x > -math.log(2)
    # each branch sees harmless values where the other one is taken, so that its gradient is never NaN times 0
    small = torch.log(-torch.expm1(torch.where(near_zero, x, -1.0)))
    large = torch.log1p(-torch.exp(torch.where(near_zero, -1.0, x)))
    return torch.where(near_zero, small, large)


def token_mean(logps: Tensor, lengths: Tensor) -> Tensor:
    """[B] mean log-probability of a token, from sums and token counts; an empty completion gives 0."""
    return logps / lengths.clamp(min=1)


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Sum over the last axis of what the mask keeps; the padding may hold anything finite."""
    return torch.where(mask, values, 0.0).sum(-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the last axis of what the mask keeps; 0 where it keeps nothing."""
    return masked_sum(values, mask) / mask.sum(-1).clamp(min=1)

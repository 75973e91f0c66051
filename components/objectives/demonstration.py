"""Objectives on demonstrations: completions to imitate. Tensors are [B]; the result is one loss per row."""

from __future__ import annotations

from torch import Tensor

from components.objectives.numerics import token_mean


def sft(completion_logps: Tensor, completion_lengths: Tensor) -> Tensor:
    """Negative log-likelihood per token of the completion (nats)."""
    return -token_mean(completion_logps, completion_lengths)

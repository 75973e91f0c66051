"""Implicit rewards: what an objective that trains a policy takes the reward of one sequence to be, for the log.

Arguments before `*` are measures of the sequence ([B] or [B, K]), those after it the knobs of the objective.
"""

from __future__ import annotations

from torch import Tensor

from components.objectives.numerics import log1mexp, token_mean


def log_ratio(logps: Tensor, ref_logps: Tensor, *, beta: float) -> Tensor:
    """beta (S - R): the reward that the policy is optimal for, up to a constant of the prompt (DPO, eq. 5)."""
    return beta * (logps - ref_logps)


def mean_log_ratio(logps: Tensor, ref_logps: Tensor, lengths: Tensor, *, beta: float) -> Tensor:
    """beta (S - R) / n."""
    return beta * token_mean(logps - ref_logps, lengths)


def mean_logp(logps: Tensor, lengths: Tensor, *, beta: float) -> Tensor:
    """beta S / n (SimPO, eq. 4)."""
    return beta * token_mean(logps, lengths)


def log_odds(logps: Tensor, lengths: Tensor) -> Tensor:
    """log(p / (1 - p)) of p = exp(S / n): differences of it are the log odds ratio (ORPO, eq. 3-5)."""
    mean = token_mean(logps, lengths)
    return mean - log1mexp(mean)

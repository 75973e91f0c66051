"""The learning rate as a pure function of the step, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from components.training.params import Optimization


def total_steps(rows: int, optimization: Optimization) -> int:
    """Optimizer steps of a run over `rows` examples (at least one)."""
    if optimization.max_steps:
        return optimization.max_steps
    per_epoch = -(-rows // optimization.batch_size)
    return max(1, round(optimization.epochs * per_epoch))


def learning_rate(step: int, total: int, optimization: Optimization) -> float:
    """Rate of step 0 <= step < total: a linear rise whose last step reaches the peak, then the schedule.

    cosine: peak * (1 + cos(pi * t)) / 2, linear: peak * (1 - t), with t the fraction of the remaining steps done.
    """
    warmup = math.ceil(optimization.warmup * total)
    if step < warmup:
        return optimization.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, total - warmup)
    if optimization.schedule == "cosine":
        return optimization.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    if optimization.schedule == "linear":
        return optimization.learning_rate * (1 - done)
    return optimization.learning_rate

"""Saved is trained: what a model says of a few rows just after its last step, once merged, and once loaded again.

Rows are read one by one and in fp32, so a difference is never one of batching or of the precision of training. They are
rows of the training data, from the shortest to the longest: a fault beyond some length shows, too.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Ordered
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from components.errors import ArtifactError, ParamsError
from components.sequences import Example, Sequence
from components.training.logprobs import sequence_logprobs
from components.training.params import Lora, Optimization

Said = list[NDArray[np.float64]]
"""Numbers that a model gives for each row: log-probabilities of its tokens, or the reading of a preference model."""

Probe = Callable[[nn.Module], Said]

ROWS = 16
TOLERANCE, WORST = 1e-4, 1e-2
"""Largest mean difference per number of a row, relative where numbers are above 1: of the median row, and of any row.

Rounding of a merge gives 1e-8 to 1e-6; in a mixture of experts it may send a single token to another expert.
"""


def rows_of(examples: Ordered[Example]) -> list[Sequence]:
    """Up to `ROWS` sequences of the examples, evenly from the shortest to the longest."""
    longest = [max(example.sequences, key=len) for example in examples]
    order = sorted(range(len(longest)), key=lambda i: (len(longest[i]), i))
    places = np.linspace(0, len(order) - 1, min(ROWS, len(order))).astype(int)
    return [longest[order[place]] for place in places]


def policy_probe(rows: Ordered[Sequence], device: torch.device) -> Probe:
    """What a policy says of rows: the log-probability of every completion token that counts."""

    def say(model: nn.Module) -> Said:
        found = sequence_logprobs(model, rows, device=device, precision="fp32", micro_batch_tokens=1)
        return [np.array(tokens, dtype=np.float64) for tokens in found]

    return say


class Gap(NamedTuple):
    """Mean differences per number (see `TOLERANCE`) of the median and of the worst row."""

    median: float
    worst: float

    @property
    def is_rounding(self) -> bool:
        """Small enough for two ways to compute one function."""
        return self.median <= TOLERANCE and self.worst <= WORST


def gap_of(before: Said, after: Said) -> Gap:
    """How far two answers to the same rows lie apart; infinitely far where a number is not finite."""
    gaps = [
        np.abs(one - other).mean() / max(1.0, np.abs(one).mean())
        for one, other in zip(before, after, strict=True)
        if len(one)
    ]
    known = np.nan_to_num(np.array(gaps or [0.0]), nan=np.inf)
    return Gap(float(np.median(known)), float(known.max()))


def check_steady(plain: Said, training: Said) -> None:
    """Raise ParamsError if a model says other things in train mode than in eval mode."""
    gap = gap_of(plain, training)
    if not gap.is_rounding:
        raise ParamsError(
            "optimization.gradient_checkpointing: needs train mode, where this model computes something else than in "
            f"use (got answers that differ by {gap.worst:.1e}). Set gradient_checkpointing: false."
        )


def check_merged(where: str, trained: Said, merged: Said, lora: Lora, optimization: Optimization) -> None:
    """Compare the plain model that is about to be saved with the one that was trained.

    Raises ParamsError if the trained one gives no finite numbers, ArtifactError if the plain one is another function.
    """
    if not all(np.isfinite(row).all() for row in trained):
        raise ParamsError(
            f"{where}: after its last step the model gives numbers that are not finite (got nan or inf). "
            "Lower optimization.learning_rate."
        )
    gap = gap_of(trained, merged)
    if gap.is_rounding:
        return
    if lora.rank:
        cause = (
            f"adapters on {', '.join(lora.targets)} cannot be folded into the weights: another layer uses these "
            "weights, too, or the model does not call the layer as one. Choose other lora.targets, or lora.rank: 0"
        )
    elif optimization.sharded:
        cause = "the weights put together from their shares are others. Set optimization.sharded: false"
    else:
        cause = "the model computes something else in training. Set optimization.gradient_checkpointing: false"
    raise ArtifactError(
        f"{where}: what would be saved is not what was trained (got numbers that differ by {gap.worst:.1e}, rounding "
        f"allows {TOLERANCE:.0e}): {cause}."
    )


def check_reloaded(where: str, said: Said, again: Said, model: Any, reloaded: Any, device: torch.device) -> None:
    """Compare a model loaded from its artifact with the one that was saved: to the bit on a CPU.

    Raises ArtifactError, naming tensors that differ.
    """
    gap = gap_of(said, again)
    if gap.worst == 0 or (device.type != "cpu" and gap.is_rounding):
        return
    raise ArtifactError(
        f"{where}: what was saved is not what was trained (got numbers that differ by {gap.worst:.1e}; tensors that "
        f"differ: {_differing(model, reloaded)}). Rerun the step; if it fails again, transformers cannot save this "
        "architecture whole: take another base_model."
    )


def _differing(model: Any, reloaded: Any) -> str:
    ours, theirs = model.state_dict(), reloaded.state_dict()
    names = sorted(ours.keys() ^ theirs.keys()) + [
        name for name in sorted(ours.keys() & theirs.keys()) if not torch.equal(ours[name].cpu(), theirs[name].cpu())
    ]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none, so its config"

"""Saved is trained: what a model says of a few rows just after its last step, once merged, and once loaded again.

Rows are read one by one and in fp32, so a difference is never one of batching or of the precision of training. They are
rows of the training data, from the shortest to the longest: a fault beyond some length shows, too.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Ordered
from typing import Any

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
TOLERANCE = 1e-3
"""Largest mean difference in a row, per number and relative where numbers are above 1: rounding stays below a tenth."""


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


def largest_gap(before: Said, after: Said) -> float:
    """The largest mean difference in a row (see `TOLERANCE`); infinite where a number is not finite."""
    gaps = [
        float(np.abs(one - other).mean() / max(1.0, np.abs(one).mean()))
        for one, other in zip(before, after, strict=True)
        if len(one)
    ]
    return max((gap if np.isfinite(gap) else np.inf for gap in gaps), default=0.0)


def check_steady(first: Said, second: Said) -> None:
    """Raise ParamsError if a model in its training form says two things of the same rows."""
    if not (gap := largest_gap(first, second)) <= TOLERANCE:
        raise ParamsError(
            "optimization.gradient_checkpointing: in the form that this model is trained in it draws random numbers "
            f"which cannot be turned off (got answers that differ by {gap:.1e}). Set gradient_checkpointing: false."
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
    if (gap := largest_gap(trained, merged)) <= TOLERANCE:
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
        f"{where}: what would be saved is not what was trained (got numbers that differ by {gap:.1e}, at most "
        f"{TOLERANCE:.0e}): {cause}."
    )


def check_reloaded(where: str, said: Said, again: Said, model: Any, reloaded: Any, device: torch.device) -> None:
    """Compare a model loaded from its artifact with the one that was saved: to the bit on a CPU.

    Raises ArtifactError, naming tensors that differ.
    """
    allowed = 0.0 if device.type == "cpu" else TOLERANCE
    if (gap := largest_gap(said, again)) <= allowed:
        return
    raise ArtifactError(
        f"{where}: what was saved is not what was trained (got numbers that differ by {gap:.1e}; tensors that differ: "
        f"{_differing(model, reloaded)}). Rerun the step; if it fails again, this architecture cannot be saved whole: "
        "take another base_model."
    )


def _differing(model: Any, reloaded: Any) -> str:
    ours, theirs = model.state_dict(), reloaded.state_dict()
    names = sorted(ours.keys() ^ theirs.keys()) + [
        name for name in sorted(ours.keys() & theirs.keys()) if not torch.equal(ours[name].cpu(), theirs[name].cpu())
    ]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none, so its config"

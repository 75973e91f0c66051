"""The reference point of unpaired objectives: how far the policy drifts on completions that answer other prompts.

In a global batch each prompt gets the completion of the next row (+1, cyclic: no row can meet its own completion,
which a reversal would allow). z0 = max(0, mean(policy - reference)), without gradient (KTO, eq. 7; PO-50).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from components.errors import ParamsError
from components.policy_optimization.data import Example

Mismatch = tuple[int, int]
"""(row of the prompt, row of the completion)."""


def rotation(rows: Sequence[int]) -> list[Mismatch]:
    """Each row with the next one. Raises ParamsError for a batch of one, whose next row is itself."""
    if len(rows) < 2:
        raise ParamsError(
            f"optimization.batch_size: this objective compares rows of a batch (got a batch of {len(rows)}). "
            "Use a batch_size of at least 2, with at least 2 examples."
        )
    return list(zip(rows, [*rows[1:], rows[0]], strict=True))


def examples(mismatches: Sequence[Mismatch], items: Sequence[Example]) -> list[Example]:
    """The prompt of one row with the completion of another."""
    return [replace(items[prompt], completions=items[completion].completions) for prompt, completion in mismatches]


def reference_point(policy: np.ndarray, reference: np.ndarray) -> float:
    """z0 from [1, N] log-probabilities of mismatched completions; a row that is not finite is left out."""
    ratios = (policy - reference).astype(np.float64)
    ratios = ratios[np.isfinite(ratios)]
    return max(0.0, float(ratios.mean())) if ratios.size else 0.0

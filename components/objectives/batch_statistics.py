"""What objectives take of a whole global batch: pure functions, measured before its gradient, without one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from components.errors import ParamsError
from components.objectives.table import BATCH_STATISTICS
from components.sequences import Example

Array = NDArray[np.float64]
State = dict[str, float]


def mismatched(examples: list[Example]) -> list[Example]:
    """Each prompt with the completion of the next example (+1, cyclic: none meets its own, as a reversal would allow).

    Raises ParamsError for a batch of one, whose next example is itself.
    """
    if len(examples) < 2:
        raise ParamsError(
            f"optimization.batch_size: this objective compares rows of a batch (got a batch of {len(examples)}). "
            "Use a batch_size of at least 2, with at least 2 examples."
        )
    others = [*examples[1:], examples[0]]
    return [
        replace(own, sequences=(replace(other.sequences[0], prompt_ids=own.sequences[0].prompt_ids),))
        for own, other in zip(examples, others, strict=True)
    ]


@BATCH_STATISTICS.row(
    method="PO-50",
    source="Ethayarajh et al. 2024, KTO, eq. 7",
    view="unpaired",
    kind="nonnegative",
    logged="kl",
    on=mismatched,
)
def reference_kl(completion_logps: Array, completion_ref_logps: Array) -> float:
    """KTO's reference point: mean log-ratio of completions that answer other prompts, at least 0.

    A row that is not finite is left out.
    """
    ratios = completion_logps - completion_ref_logps
    ratios = ratios[np.isfinite(ratios)]
    return max(0.0, float(ratios.mean())) if ratios.size else 0.0


@BATCH_STATISTICS.row(
    method="PO-51",
    source="Jung et al. 2024, Binary Classifier Optimization",
    view="unpaired",
    kind="real",
    state={"mean": 0.0, "count": 0.0},
)
def mean_log_ratio(state: State, completion_logps: Array, completion_ref_logps: Array) -> tuple[float, State]:
    """Mean log-ratio of all rows so far, desirable or not, this batch included.

    A row that is not finite is left out.
    """
    ratios = completion_logps - completion_ref_logps
    ratios = ratios[np.isfinite(ratios)]
    count = state["count"] + ratios.size
    mean = state["mean"] + float((ratios - state["mean"]).sum()) / count if count else state["mean"]
    return mean, {"mean": mean, "count": count}

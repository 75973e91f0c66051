"""How often a scorer puts the preferred completion first, by both conventions for equal scores (EVAL-16)."""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from components.statistics.intervals import Bootstrap, Clusters, Estimate, estimate, finite


class Accuracy(TypedDict):
    """`strict` counts equal scores as wrong (RewardBench's rule for scalar models), `tie_half` as one half."""

    strict: Estimate
    tie_half: Estimate
    ties: int


def accuracy_strict_and_tie_half(
    chosen_scores: ArrayLike,
    rejected_scores: ArrayLike,
    clusters: Clusters | None = None,
    bootstrap: Bootstrap | None = None,
) -> Accuracy:
    """How often the chosen completion [n] scores higher.

    Pass decided comparisons only: where people saw a tie there is nothing to be right about. A scorer that gives
    probabilities passes P(chosen preferred) and one half.
    """
    difference = finite("chosen_scores", chosen_scores) - finite("rejected_scores", rejected_scores)
    return {
        "strict": estimate(difference > 0, clusters, bootstrap),
        "tie_half": estimate((np.sign(difference) + 1) / 2, clusters, bootstrap),
        "ties": int((difference == 0).sum()),
    }

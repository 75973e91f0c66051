"""Intervals, calibration and baselines for measured numbers. NumPy only (scikit-learn inside one baseline).

Everything is a pure function of its arguments and seed. The unit of resampling is the cluster, which is the prompt:
several judgments of one prompt are not independent evidence. One number has one interval wherever it is printed: cards
of single steps and the evaluation report call the same functions with the same draws.
"""

from components.statistics.accuracy import Accuracy, accuracy_strict_and_tie_half
from components.statistics.baselines import bag_of_words_baseline, length_baseline
from components.statistics.calibration import both_directions, brier, ece
from components.statistics.intervals import (
    ENOUGH,
    ROUNDING,
    Bootstrap,
    Estimate,
    estimate,
    point,
    undefined,
    weigh,
    wilson,
)

__all__ = [
    "ENOUGH",
    "ROUNDING",
    "Accuracy",
    "Bootstrap",
    "Estimate",
    "accuracy_strict_and_tie_half",
    "bag_of_words_baseline",
    "both_directions",
    "brier",
    "ece",
    "estimate",
    "length_baseline",
    "point",
    "undefined",
    "weigh",
    "wilson",
]

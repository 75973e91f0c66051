"""The catalogue of losses: pure functions of named quantities, one loss per example, fp32. Their files need torch.

The signature is the interface: arguments before `*` are what the driver must compute, keyword-only floats after it are
what a person may set. Nothing here reduces, logs or keeps state.
"""

from components.objectives.catalogue import Objective, bind, needs, resolve
from components.objectives.claims import Direction, Reduction
from components.objectives.quantities import MEASURES, Quantity, parse
from components.objectives.table import BATCH_STATISTICS, FAMILIES, OBJECTIVES

__all__ = [
    "BATCH_STATISTICS",
    "FAMILIES",
    "MEASURES",
    "OBJECTIVES",
    "Direction",
    "Objective",
    "Quantity",
    "Reduction",
    "bind",
    "needs",
    "parse",
    "resolve",
]

"""The catalogue of losses: pure functions of named quantities, one loss per example, fp32. Their files need torch.

The signature is the interface: arguments before `*` are what the driver must compute, keyword-only floats after it are
what a person may set. Nothing here reduces, logs or keeps state.
"""

from components.objectives.catalogue import bind, needs
from components.objectives.claims import Direction, Reduction
from components.objectives.quantities import QUANTITIES, Quantity
from components.objectives.table import FAMILIES, OBJECTIVES

__all__ = [
    "FAMILIES",
    "OBJECTIVES",
    "QUANTITIES",
    "Direction",
    "Quantity",
    "Reduction",
    "bind",
    "needs",
]

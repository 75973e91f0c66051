"""The catalogue of losses: pure functions of named quantities, one loss per example, fp32. Needs torch.

The signature is the interface: arguments before `*` are what the driver must compute, keyword-only floats after it are
what a person may set. Nothing here reduces, logs or keeps state.
"""

from components.objectives.catalogue import CATALOGUE, bind, knobs, needs
from components.objectives.docs import markdown
from components.objectives.quantities import QUANTITIES, Quantity
from components.objectives.rows import FAMILIES, Direction, Range, Reduction, Row

__all__ = [
    "CATALOGUE",
    "FAMILIES",
    "QUANTITIES",
    "Direction",
    "Quantity",
    "Range",
    "Reduction",
    "Row",
    "bind",
    "knobs",
    "markdown",
    "needs",
]

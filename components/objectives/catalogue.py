"""How a chosen objective becomes a bound function. Torch-free until that is called."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from components.contract import Choice, dump
from components.objectives.table import FAMILIES, OBJECTIVES

if TYPE_CHECKING:
    from torch import Tensor


def needs(name: str) -> tuple[str, ...]:
    """The quantities an objective takes, by name (see `quantities.py`). Raises ParamsError for an unknown name."""
    return OBJECTIVES[name].needs


def bind(choice: Choice, families: Collection[str] = FAMILIES) -> Callable[..., Tensor]:
    """The objective with its knobs set: call it with its needs by keyword, get one loss per example.

    16-bit quantities are raised to fp32 first. Raises ParamsError for an unknown name (with the nearest), an objective
    of a family that is not in `families`, an unknown knob, or a knob that is not a number in its range.
    """
    complete = OBJECTIVES.only(family=tuple(families)).choose("objective", dump(choice))
    bound = OBJECTIVES.bind(complete)

    def objective(**quantities: Tensor) -> Tensor:
        found: Tensor = bound(**{name: _full_precision(tensor) for name, tensor in quantities.items()})
        return found

    return objective


def _full_precision(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 2 else tensor

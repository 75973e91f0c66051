"""Quantities for the battery: drawn by the axes and kinds that the vocabulary declares, padding and masks included."""

from __future__ import annotations

import torch
from torch import Tensor

from components.objectives import OBJECTIVES, Quantity, parse

Drawn = dict[str, Tensor]
K, T = 4, 5  # the widest list and the longest completion that are drawn


def quantities(name: str) -> dict[str, Quantity]:
    """What an objective needs, parsed."""
    facts = OBJECTIVES[name].facts
    return {need: parse(need, facts["view"], facts.get("trains")) for need in OBJECTIVES[name].needs}


def free(name: str) -> list[str]:
    """Needs that may take any value near the drawn one: what a gradient can be asked for."""
    return [key for key, quantity in quantities(name).items() if quantity.kind in ("logp", "real", "nonnegative")]


def _shape(quantity: Quantity, rows: int, width: int) -> tuple[int, ...]:
    sizes = {"B": rows, "K": width, "T": T}
    return tuple(sizes[axis] for axis in quantity.axes)


def _prefixes(shape: tuple[int, ...], least: int, generator: torch.Generator) -> Tensor:
    """Masks that keep a first part of the last axis, of any length from `least` to all."""
    lengths = torch.randint(min(least, shape[-1]), shape[-1] + 1, (*shape[:-1], 1), generator=generator)
    return torch.arange(shape[-1]) < lengths


def draw(name: str, rows: int, *, seed: int = 0, dtype: torch.dtype = torch.float64, width: int = K) -> Drawn:
    """Random needs of an objective within the values of their kinds; ragged, with other numbers in the padding."""
    generator = torch.Generator().manual_seed(seed)
    found: Drawn = {}
    for key, quantity in quantities(name).items():
        shape = _shape(quantity, rows, width)
        share = torch.rand(shape, generator=generator, dtype=torch.float64)
        if quantity.kind == "mask":
            found[key] = _prefixes(shape, 2 if quantity.axes[-1] == "K" else 1, generator)
            continue
        if quantity.kind == "rank":  # 0, then 0 or 1 more at each place; the second place is always below the first
            steps = (share > 0.5).double()
            steps[..., 0], steps[..., 1] = 0.0, 1.0
            found[key] = steps.cumsum(-1).to(dtype)
            continue
        scaled = {
            "logp": -30 + 29.5 * share,
            "count": (1 + 11 * share).floor(),
            "binary": (share > 0.5).double(),
            "share": share,
            "nonnegative": 2 * share,
            "real": -4 + 8 * share,
        }
        found[key] = scaled[quantity.kind].to(dtype)
    return found


def masks(name: str, drawn: Drawn) -> dict[str, Tensor]:
    """For each need with an axis of ragged length, what of it is no padding."""
    found = {}
    for key, quantity in quantities(name).items():
        if not quantity.role or quantity.kind == "mask":
            continue
        mask = drawn.get(f"{quantity.role}_{'token_mask' if 'T' in quantity.axes else 'mask'}")
        if "K" in quantity.axes or "T" in quantity.axes:
            assert mask is not None, f"{name} takes {key} without its mask"
            found[key] = mask
    return found


def part(drawn: Drawn, rows: object) -> Drawn:
    """Some rows of every quantity; trained numbers belong to all."""
    return {key: value[rows] if value.ndim else value for key, value in drawn.items()}  # type: ignore[index]

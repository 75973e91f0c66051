"""How a chosen objective becomes a bound function. Torch-free until that is called."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from components.contract import Choice
from components.objectives.quantities import Quantity, parse
from components.objectives.table import FAMILIES, OBJECTIVES
from components.sequences.table import VIEWS

if TYPE_CHECKING:
    from torch import Tensor

    Quantities = Mapping[str, Tensor]


@dataclass(frozen=True)
class Objective:
    """A chosen objective, bound: what it reads, what it takes, and what it gives."""

    name: str
    view: str
    needs: tuple[Quantity, ...]
    trains: Mapping[str, float]
    function: Callable[..., Tensor]
    reward: Callable[..., Tensor] | None

    def losses(self, quantities: Quantities) -> Tensor:
        """One loss per example: [B] from at least the quantities it needs."""
        return self.function(**{need.name: quantities[need.name] for need in self.needs})

    def rewards(self, quantities: Quantities) -> dict[str, Tensor]:
        """Implicit reward by role, of every role that it has the measures of; nothing where the row states none."""
        if self.reward is None:
            return {}
        measures = [name for name in inspect.signature(self.reward).parameters if name not in _set(self.reward)]
        found = {}
        for role in VIEWS[self.view].facts["roles"]:
            names = {measure: f"{role}_{measure}" for measure in measures}
            if all(name in quantities for name in names.values()):
                found[role] = self.reward(**{measure: quantities[name] for measure, name in names.items()})
        return found


def needs(name: str) -> tuple[str, ...]:
    """The quantities an objective takes, by name (see `quantities.py`). Raises ParamsError for an unknown name."""
    return OBJECTIVES[name].needs


def bind(choice: Choice, families: Collection[str] = FAMILIES) -> Callable[..., Tensor]:
    """The objective with its knobs set: call it with its needs by keyword, get one loss per example.

    16-bit quantities are raised to fp32 first. Raises ParamsError for an unknown name (with the nearest), an objective
    of a family that is not in `families`, an unknown knob, or a knob that is not a number in its range.
    """
    bound = OBJECTIVES.bind(_complete(choice, families))

    def objective(**quantities: Tensor) -> Tensor:
        found: Tensor = bound(**{name: _full_precision(tensor) for name, tensor in quantities.items()})
        return found

    return objective


def resolve(choice: Choice, family: str) -> Objective:
    """A chosen objective of a family. Raises ParamsError as `bind` does, SpecError for a row with an unknown need."""
    function = bind(choice, (family,))
    row = OBJECTIVES[choice.name]
    view, trains = row.facts["view"], row.facts.get("trains", {})
    reward = row.extra("reward")
    if reward is not None:
        accepted, knobs = inspect.signature(reward).parameters, _complete(choice, (family,)).knobs
        reward = partial(reward, **{name: knob for name, knob in knobs.items() if name in accepted})
    wanted = tuple(parse(name, view, trains) for name in row.needs)
    return Objective(row.name, view, wanted, trains, function, reward)


def _complete(choice: Choice, families: Collection[str]) -> Choice:
    """With every knob; a choice that code makes is of the revision that is here."""
    given = {"name": choice.name, **choice.knobs}
    complete: Choice = OBJECTIVES.only(family=tuple(families)).choose("objective", given)
    return complete


def _set(reward: Callable[..., Any]) -> Collection[str]:
    return reward.keywords if isinstance(reward, partial) else ()


def _full_precision(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() == 2 else tensor

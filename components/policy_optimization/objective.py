"""What the chosen objective means for this step, read off its signature: no objective is named anywhere here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from components.contract import Choice
from components.errors import ParamsError
from components.objectives import OBJECTIVES, bind, needs
from components.policy_optimization.data import GIVEN, SIDES

KL = "reference_kl"


@dataclass(frozen=True)
class Objective:
    """A bound objective, the quantities it takes, and what an example of its family holds."""

    function: Callable[..., Tensor]
    needs: tuple[str, ...]
    family: str
    sides: tuple[str, ...]
    beta: float  # scale of the logged rewards, 1 for an objective without such a knob

    @property
    def needs_reference(self) -> bool:
        return self.needs_mismatched or any("_ref_" in need for need in self.needs)

    @property
    def needs_mismatched(self) -> bool:
        return KL in self.needs

    @property
    def keeps_ties(self) -> bool:
        """An objective that takes the probability of a preference can learn from a tie; hard labels cannot."""
        return "preference_probability" in self.needs

    def losses(self, quantities: Mapping[str, Tensor]) -> Tensor:
        """One loss per example."""
        return self.function(**{need: quantities[need] for need in self.needs})


def resolve(choice: Choice) -> Objective:
    """Raises ParamsError for an unknown objective or knob, or for one that needs what this step cannot compute."""
    function = bind(choice, tuple(SIDES))
    family = OBJECTIVES[choice.name].facts["family"]
    sides = SIDES[family]
    known = {f"{side}_{what}" for side in sides for what in ("logps", "ref_logps", "lengths")} | set(GIVEN[family])
    if len(sides) == 1:
        known.add(KL)
    for need in needs(choice.name):
        if need not in known:
            raise ParamsError(
                f"objective.name: {choice.name} needs '{need}', which {family} feedback does not give here "
                f"(got {', '.join(sorted(known))}). Choose another objective."
            )
    knobs = {name: knob.default for name, knob in OBJECTIVES[choice.name].knobs.items()}
    beta = {**knobs, **choice.knobs}.get("beta", 1.0)
    return Objective(function, needs(choice.name), family, sides, float(beta))

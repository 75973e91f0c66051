"""Parameters of the evaluation component. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from components.contract import Choice
from components.contract.ranges import Range, Whole
from components.errors import ParamsError
from components.measures.table import MEASURES, everything


@dataclass(frozen=True)
class Params:
    """What is measured, and how sure the numbers must be."""

    measures: tuple[Annotated[Choice, MEASURES], ...] = field(default_factory=everything)
    """What is measured; a measure without its data is listed as missing, with the reason."""
    rule: Literal["mean_p", "conservative", "net"] = "conservative"
    """How a judge's two orders combine: mean probability, a win only if both agree, or the sign of the sum."""
    gold: Literal["", "simulated"] = ""
    """simulated: also score answers by the known truth of the simulated world; its prompts only."""
    resamples: Annotated[int, Range(at_least=100)] = 10_000
    """Bootstrap draws over prompts behind every interval."""
    showcase: Whole = 20
    """Prompts of the random sample in the report, fixed before any answer is looked at."""
    seed: int = 0
    """Seed of the bootstrap."""

    def check(self) -> None:
        names = [choice.name for choice in self.measures]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ParamsError(f"measures: {twice[0]} stands twice. Take one of them out.")

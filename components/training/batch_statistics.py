"""Measure what an objective takes of a whole global batch: numbers without gradient, some with a memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from components.objectives import BATCH_STATISTICS, Objective, Quantity, parse
from components.sequences import Example
from components.training.scorer import Scorer

State = dict[str, dict[str, float]]
"""What each statistic remembers; it lies in the checkpoint."""

Forward = Callable[[nn.Module, list[Example], tuple[Quantity, ...]], dict[str, Tensor]]


@dataclass(frozen=True)
class Statistic:
    """One row, loaded. `on`: the examples that are measured, from those of the batch."""

    name: str
    function: Callable[..., Any]
    needs: tuple[Quantity, ...]
    on: Callable[[list[Example]], list[Example]] | None
    remembers: bool


@dataclass(frozen=True)
class BatchStatistics:
    """Those that an objective takes; falsy if there are none."""

    items: tuple[Statistic, ...]

    def __bool__(self) -> bool:
        return bool(self.items)

    @property
    def needs(self) -> tuple[Quantity, ...]:
        return tuple(dict.fromkeys(need for item in self.items for need in item.needs))

    def start(self) -> State:
        return {item.name: dict(BATCH_STATISTICS[item.name].facts["state"]) for item in self.items if item.remembers}

    def also_scored(self, examples: list[Example]) -> dict[str, list[Example]]:
        """The examples beside those of the batch that will be measured with it, by the name of what makes them."""
        return {item.on.__name__: item.on(examples) for item in self.items if item.on is not None}

    def measure(
        self, model: nn.Module, examples: list[Example], state: State, scorer: Scorer, forward: Forward
    ) -> tuple[dict[str, float], State]:
        """The value of each for a global batch, and the state after it. Every process must call it."""
        values, after = {}, dict(state)
        for item in self.items:
            measured = item.on(examples) if item.on else examples

            def compute(some: list[Example], needs: tuple[Quantity, ...] = item.needs) -> dict[str, Tensor]:
                return forward(model, some, needs)

            arrays = scorer.collect(measured, compute)
            if item.remembers:
                values[item.name], after[item.name] = item.function(state[item.name], **arrays)
            else:
                values[item.name] = item.function(**arrays)
        return values, after


def of(objective: Objective) -> BatchStatistics:
    """The statistics among the needs of an objective."""
    return BatchStatistics(
        tuple(_load(need.name, objective.view) for need in objective.needs if need.source == "batch")
    )


def _load(name: str, view: str) -> Statistic:
    row = BATCH_STATISTICS[name]
    remembers = row.needs[0] == "state"
    needs = tuple(parse(need, view) for need in row.needs[remembers:])
    return Statistic(name, row.load(), needs, row.extra("on"), remembers)

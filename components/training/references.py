"""The model that a policy is compared with: computed once before training, kept beside it, or moving after it.

Rows take a `Setting` and give a `Reference`; all of them answer the same two questions (see `scorer.Reference`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.contract.ranges import Count, Share
from components.errors import ParamsError
from components.objectives import Quantity
from components.training import sharding
from components.training.head import Predictions
from components.training.logprobs import predictions
from components.training.runtime import autocast
from components.training.scorer import Layout, Reference, language_model
from components.training.tables import REFERENCES

Values = Mapping[bytes, float]
"""Summed log-probability by the key of a sequence."""


@dataclass(frozen=True)
class Setting:
    """What a run has to make a reference of.

    `needs`: what is asked of it. `policy`: the model that training starts from, on its device, before adapters.
    `load()`: another model where one was given, else None. `once()`: the log-probabilities of everything that training
    and validation will score, under this very reference. `adapters`: training adds low-rank adapters.
    """

    needs: tuple[Quantity, ...]
    policy: Any
    load: Callable[[], Any] | None
    once: Callable[[], Values]
    adapters: bool
    precision: str

    def model(self) -> Any:
        """A model of its own, frozen: the one that was given, or a copy of the policy as it is now."""
        found = self.load() if self.load else copy.deepcopy(self.policy)
        return found.requires_grad_(False).eval().to(self.policy.device)


@dataclass
class Precomputed:
    """Log-probabilities that were computed before training."""

    values: Values

    def measures(self, layout: Layout, wanted: frozenset[str], policy: nn.Module) -> dict[str, Tensor]:
        """`logps` [N] of sequences that were scored before; a KeyError for any other is a mistake of the driver."""
        device = layout.batch.lengths.device
        return {"logps": torch.tensor([self.values[one.key] for one in layout.sequences], device=device)}

    def predictions(self, layout: Layout, policy: nn.Module) -> Predictions:
        raise RuntimeError("numbers that were computed before training predict nothing: a mistake of the driver")


@dataclass
class Live:
    """A frozen model that is run beside the policy."""

    model: Any
    precision: str

    @torch.no_grad()
    def measures(self, layout: Layout, wanted: frozenset[str], policy: nn.Module) -> dict[str, Tensor]:
        with autocast(layout.batch.lengths.device, self.precision, cache=False):
            return language_model(self.model, layout, wanted)

    @torch.no_grad()
    def predictions(self, layout: Layout, policy: nn.Module) -> Predictions:
        with autocast(layout.batch.lengths.device, self.precision, cache=False):
            return predictions(self.model, layout.batch)


@dataclass
class AdapterOff:
    """The policy itself without its adapters: no second model is held."""

    @torch.no_grad()
    def measures(self, layout: Layout, wanted: frozenset[str], policy: nn.Module) -> dict[str, Tensor]:
        with _without_adapters(policy):
            return language_model(policy, layout, wanted)

    @torch.no_grad()
    def predictions(self, layout: Layout, policy: nn.Module) -> Predictions:
        with _without_adapters(policy):
            return predictions(policy, layout.batch)


def _without_adapters(policy: Any) -> AbstractContextManager[Any]:
    """The step-0 check sees the policy before it has any."""
    found: AbstractContextManager[Any] = (
        policy.disable_adapter() if hasattr(policy, "disable_adapter") else nullcontext()
    )
    return found


@dataclass
class Moving(Live):
    """A model that goes `mix` of the way to the policy every so many steps."""

    mix: float
    every: int
    tensors: dict[str, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        self.tensors = {name: value.detach() for name, value in self.model.named_parameters()}

    @torch.no_grad()
    def after(self, policy: nn.Module, step: int) -> None:
        """Move, if it is time: weights <- mix * policy + (1 - mix) * weights. Every process must call it."""
        if step % self.every:
            return
        for name, value in policy.named_parameters():
            whole = sharding.whole(value.detach())
            self.tensors[name].lerp_(whole, self.mix) if self.mix < 1 else self.tensors[name].copy_(whole)


@REFERENCES.row(source="Rafailov et al. 2023, DPO, sec. 5")
def fixed(setting: Setting) -> Reference:
    """It never changes: log-probabilities are computed once and kept; the model only where more than them is asked."""
    if all(need.measure == "logps" and need.source == "ref" for need in setting.needs):
        return Precomputed(setting.once())
    return Live(setting.model(), setting.precision)


@REFERENCES.row(source="Rafailov et al. 2023, DPO, sec. 5")
def live(setting: Setting) -> Reference:
    """It never changes and is run beside the policy: no pass before training, but its weights are held all along."""
    return Live(setting.model(), setting.precision)


@REFERENCES.row(source="Hu et al. 2021, LoRA: the base is the adapted model without its adapters")
def adapter_off(setting: Setting) -> Reference:
    """The policy without its adapters: a reference that costs no memory."""
    if not setting.adapters or setting.load is not None:
        got = "another reference as input" if setting.load else "lora.rank 0"
        raise ParamsError(
            f"reference.name: adapter_off is the policy without its adapters (got {got}). "
            "Set lora.rank and give no reference, or use fixed."
        )
    return AdapterOff()


@REFERENCES.row(method="PO-25", source="Gorbatovski et al. 2024, TR-DPO, eq. 5-6")
def moving(setting: Setting, *, mix: Share = 0.6, every: Count = 512) -> Reference:
    """It goes `mix` of the way to the policy every so many steps.

    `mix` 1 is the last policy; a small `mix` with `every` 1 is an exponential moving average.
    """
    if setting.adapters:
        raise ParamsError(
            "reference.name: moving follows whole weights (got lora.rank above 0). Set lora.rank: 0, or use fixed."
        )
    return Moving(setting.model(), setting.precision, mix, every)


def as_values(sections: Mapping[str, Any], found: Mapping[str, np.ndarray]) -> Values:
    """By the key of each sequence, from [K, N] of each section of examples."""
    return {
        sequence.key: float(found[name][k, i])
        for name, examples in sections.items()
        for i, example in enumerate(examples)
        for k, sequence in enumerate(example.sequences)
    }

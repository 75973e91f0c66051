"""How examples become forward passes, and what models say of their sequences: quantities by name.

Sequences of a list of examples are flat: all first ones, then all second ones, and so on; examples may have any number.
Training, references, statistics of a batch and validation all go through here.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from components.errors import first_line
from components.objectives import Quantity
from components.sequences import Example, Sequence
from components.training import distributed
from components.training.batching import Batch, collate, collate_shared, micro_batches
from components.training.head import Predictions, divergences, entropies
from components.training.logprobs import TOLERANCE, by_token, predictions, token_logps, unwrap
from components.training.runtime import autocast
from components.training.shared_attention import release

log = logging.getLogger(__name__)

SAVING = 1.2  # share prompts where separate rows would compute at least a fifth more tokens


@dataclass(frozen=True)
class Layout:
    """The sequences of B examples as one batch: sequence n is number `slot[n]` of example `owner[n]`."""

    batch: Batch
    sequences: list[Sequence]
    owner: list[int]
    slot: list[int]
    examples: Ordered[Example]

    def numbers(self, role: str) -> list[list[int]]:
        """For each example the sequences of a role, by number, in their order."""
        found: list[list[int]] = [[] for _ in self.examples]
        for n, sequence in enumerate(self.sequences):
            if sequence.role == role:
                found[self.owner[n]].append(n)
        return found


class Reference(Protocol):
    """Another model that an objective compares the policy with."""

    def measures(self, layout: Layout, wanted: frozenset[str], policy: nn.Module) -> dict[str, Tensor]:
        """What it says of the sequences of a layout, without gradient (see `Scorer.measure`)."""
        ...

    def predictions(self, layout: Layout, policy: nn.Module) -> Predictions:
        """What it predicts the tokens from, without gradient, for comparisons over the whole vocabulary."""
        ...


Measurer = Callable[[nn.Module, Layout, frozenset[str], Reference | None], dict[str, Tensor]]
"""Measures of a model by name: [N] fp32 for each sequence, [N, T] for each token that counts, padded with zeros, or [B]
for each example where its sequences are measured side by side."""


def language_model(
    model: nn.Module, layout: Layout, wanted: frozenset[str], reference: Reference | None = None
) -> dict[str, Tensor]:
    """`logps`, `token_logps`, `entropy`, `vocab_kl` of a causal language model; only what is asked for is computed."""
    batch = layout.batch
    found = predictions(model, batch)
    measures: dict[str, Tensor] = {}
    if wanted & {"logps", "token_logps"}:
        measures["token_logps"] = by_token(token_logps(found, batch), batch)
        measures["logps"] = measures["token_logps"].sum(1)
    if "entropy" in wanted:
        measures["entropy"] = by_token(entropies(found), batch)
    if "vocab_kl" in wanted:
        assert reference is not None, "a divergence needs the model it is measured from"
        measures["vocab_kl"] = by_token(divergences(reference.predictions(layout, model), found), batch)
    return measures


@dataclass(frozen=True)
class Scorer:
    """`shared`: prompts of neighbouring sequences are computed once. `budget`: most tokens of one forward pass."""

    shared: bool
    device: torch.device
    precision: str
    budget: int
    measure: Measurer = language_model

    def tokens(self, examples: Iterable[Example]) -> int:
        """Tokens that a forward pass over these examples computes."""
        return sum(example.shared_tokens if self.shared else example.separate_tokens for example in examples)

    def layout(self, examples: Ordered[Example]) -> Layout:
        return layout(examples, self.device, shared=self.shared)

    def quantities(
        self,
        model: nn.Module,
        examples: Ordered[Example],
        needs: Iterable[Quantity],
        references: Mapping[str, Reference] | None = None,
    ) -> dict[str, Tensor]:
        """What is known of each example: [B], [B, K] or [B, T] by the axes of the need; padding holds zeros.

        `references` by source ("ref", "prev"). Batch statistics and trained numbers are not among it.
        """
        at, others = self.layout(examples), references or {}
        needs = [need for need in needs if need.source not in ("batch", "trained")]
        asked = {
            source: frozenset(need.measure for need in needs if need.source == source and source in need.models)
            for source in ("policy", *others)
        }
        said = {"given": {}, "policy": self.measure(model, at, asked["policy"], others.get("ref"))}
        said |= {source: other.measures(at, asked[source], model) for source, other in others.items() if asked[source]}
        return {need.name: _place(at, need, said.get(need.source, {})) for need in needs}

    @torch.no_grad()
    def collect(
        self, examples: Ordered[Example], compute: Callable[[list[Example]], Mapping[str, Tensor]], title: str = ""
    ) -> dict[str, np.ndarray]:
        """[len(examples)] float64 of each name, from `compute(some examples)`, shared out over the processes."""
        found: dict[str, Tensor] = {}
        groups = micro_batches(range(len(examples)), lengths(examples), self.budget)
        first = range(0, len(groups), distributed.world())
        for start in tqdm(first, desc=title, disable=not (title and distributed.is_main()), unit="batch"):
            mine = start + distributed.rank()
            group = groups[min(mine, len(groups) - 1)]  # a sharded model needs every process in every forward pass
            with autocast(self.device, self.precision, cache=False):
                block = compute([examples[i] for i in group])
            if not found:
                found = {name: torch.zeros(len(examples), dtype=torch.float64, device=self.device) for name in block}
            if mine < len(groups):
                for name, values in block.items():
                    found[name][group] = values.double()
        return {name: distributed.total(values).cpu().numpy() for name, values in found.items()}

    def by_sequence(self, model: nn.Module, examples: Ordered[Example], measure: str, title: str = "") -> np.ndarray:
        """[K, len(examples)] one measure of every sequence, 0 where an example has fewer than K; no gradient."""
        most = max(len(example.sequences) for example in examples)

        def compute(some: list[Example]) -> dict[str, Tensor]:
            at = self.layout(some)
            values = self.measure(model, at, frozenset([measure]), None)[measure]
            places = (_index(at.slot, values), _index(at.owner, values))
            table = values.new_zeros(most, len(some)).index_put(places, values)
            return {str(k): row for k, row in enumerate(table)}

        return np.stack(list(self.collect(examples, compute, title).values()))


def layout(examples: Ordered[Example], device: torch.device, *, shared: bool) -> Layout:
    """All first sequences, then all second ones; where prompts are shared, a row for each prompt of each example."""
    sequences, owner, slot = [], [], []
    for place in range(max(len(example.sequences) for example in examples)):
        for i, example in enumerate(examples):
            if place < len(example.sequences):
                sequences.append(example.sequences[place])
                owner.append(i)
                slot.append(place)
    if not shared:
        return Layout(collate(sequences, device), sequences, owner, slot, examples)
    groups = [(i, len(group)) for i, example in enumerate(examples) for group in example.by_prompt()]
    row_of: list[list[int]] = [[] for _ in examples]
    for row, (i, size) in enumerate(groups):
        row_of[i] += [row] * size
    rows = [row_of[i][place] for i, place in zip(owner, slot, strict=True)]
    return Layout(collate_shared(sequences, rows, device), sequences, owner, slot, examples)


def lengths(examples: Iterable[Example]) -> list[int]:
    """Tokens of each example in rows of its own: what batches are formed by, so that no layout changes a batch."""
    return [example.separate_tokens for example in examples]


def share_prompts(
    choice: str,
    examples: Ordered[Example],
    model: nn.Module,
    values: Callable[[nn.Module, Batch], Tensor],
    device: torch.device,
) -> bool:
    """Whether to compute prompts once: a rule over token counts, then a check on the model itself.

    `choice`: auto, always, never. `values`: what the model says of a batch ([N] or more); it must be the same for
    sequences that share the row of their prompt. Models whose attention does not go through transformers' interface, or
    that carry a state from token to token, fail or say something else: they compute each prompt again. The check is as
    long as the data, since a window of attention is not seen by a shorter one.
    """
    if choice == "never" or all(len(group) == 1 for example in examples for group in example.by_prompt()):
        return False
    if choice == "auto":
        together, apart = sum(e.shared_tokens for e in examples), sum(e.separate_tokens for e in examples)
        if apart < SAVING * together:
            return False
    shares = [example for example in examples if any(len(group) > 1 for group in example.by_prompt())]
    longest = max(shares, key=lambda example: example.shared_tokens)
    gap = _gap_when_shared(longest, lambda batch: values(model, batch), device)
    if not gap <= TOLERANCE:
        release(unwrap(model))
        log.warning("shared prompts: this model does not share prompts (gap %.1e); computing each one again", gap)
    return gap <= TOLERANCE


def _gap_when_shared(example: Example, values: Callable[[Batch], Tensor], device: torch.device) -> float:
    """Largest difference of what the model says of one example when its prompts are shared; infinite if it cannot."""
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        apart = values(layout([example], device, shared=False).batch)
        try:
            together = values(layout([example], device, shared=True).batch)
        except (ValueError, RuntimeError, TypeError, IndexError, AttributeError) as error:
            log.warning("shared prompts: this model refuses them (%s)", first_line(error))
            return math.inf
    return float((apart - together).abs().max())


def _index(numbers: list[int], like: Tensor) -> Tensor:
    return torch.tensor(numbers, device=like.device)


def _place(at: Layout, need: Quantity, measures: Mapping[str, Tensor]) -> Tensor:
    """One quantity by example, from measures by sequence or from what was given."""
    if need.source == "given" and not need.measure:
        return torch.tensor([example.given[need.name] for example in at.examples], device=at.batch.lengths.device)
    if not need.role:  # of an example as a whole: the model has said it example by example
        return measures[need.measure]
    flat = _flat(at, need, measures)
    numbers = at.numbers(need.role)
    if "K" in need.axes:
        return _ragged(numbers, flat)
    chosen = [own[0] for own in numbers]
    first, last = chosen[0], chosen[-1]
    if chosen == list(range(first, last + 1)):  # a view costs nothing, an index stalls a device
        return flat[first : last + 1]
    return flat[_index(chosen, flat)]


def _flat(at: Layout, need: Quantity, measures: Mapping[str, Tensor]) -> Tensor:
    """[N] or [N, T]: of every sequence, whatever its role."""
    batch = at.batch
    if need.source == "given":
        values = [float(one.given[need.measure]) if one.role == need.role else 0.0 for one in at.sequences]
        return torch.tensor(values, device=batch.lengths.device)
    if need.measure == "lengths":
        return batch.lengths.to(torch.float32)
    if need.measure == "mask":
        return torch.ones_like(batch.lengths, dtype=torch.bool)
    if need.measure == "token_mask":
        return torch.arange(batch.longest, device=batch.lengths.device) < batch.lengths[:, None]
    return measures[need.measure]


def _ragged(numbers: list[list[int]], flat: Tensor) -> Tensor:
    """[B, K, ...] from [N, ...]; zeros (or false) where an example has fewer than K."""
    most = max(map(len, numbers))
    index = _index([n for own in numbers for n in [*own, *([0] * (most - len(own)))]], flat).view(-1, most)
    there = _index([int(k < len(own)) for own in numbers for k in range(most)], flat).view(-1, most).bool()
    there = there.view(*there.shape, *([1] * (flat.ndim - 1)))
    return torch.where(there, flat[index], torch.zeros_like(flat[:1]))

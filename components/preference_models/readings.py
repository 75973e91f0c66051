"""What a network reads off batches of sequences, and how two readings become a preference."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Ordered

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from tqdm import tqdm

from components.contract import Choice
from components.preference_models.table import PREFERENCE_MODELS, is_scored
from components.sequences import Sequence
from components.training.batching import Batch, collate, micro_batches
from components.training.logprobs import unwrap
from components.training.runtime import autocast
from components.training.scorer import Layout, Measurer, Reference
from components.training.shared_attention import attention_arguments

Array = NDArray[np.float64]


def _last(head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, ...]:
    return (head(hidden[batch.last].float()),)


def _every(head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, ...]:
    values = head(hidden[batch.own].float())
    return _padded(values, (batch.sequence, batch.offset), (len(batch.lengths), batch.longest))


def _segments(head: nn.Module, hidden: Tensor, batch: Batch) -> tuple[Tensor, ...]:
    values = head(hidden[batch.own[batch.ends]].float())
    return _padded(values, (batch.sequence[batch.ends], batch.part), (len(batch.lengths), batch.parts))


def _padded(values: Tensor, place: tuple[Tensor, Tensor], shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """[N, T, D] with zeros where nothing is, and the mask [N, T]."""
    padded = values.new_zeros(*shape, values.shape[-1]).index_put(place, values)
    return padded, values.new_zeros(shape).index_put(place, torch.ones_like(values[:, 0]))


READ: dict[str, Callable[[nn.Module, Tensor, Batch], tuple[Tensor, ...]]] = {
    "last": _last,
    "every": _every,
    "segments": _segments,
}


def readings(model: nn.Module, kind: Choice, batch: Batch) -> Tensor:
    """What a kind keeps of every sequence of a batch, fp32, with gradient: its score [N, 1], or its values [N, D].

    The head sees hidden states in fp32 also under autocast: readings are compared, and bf16 has three digits.
    """
    inner = unwrap(model)
    arguments = attention_arguments(inner, batch)
    hidden = inner.base_model(input_ids=batch.input_ids, use_cache=False, **arguments)[0].flatten(0, 1)
    with torch.autocast(hidden.device.type, enabled=False):
        parts = READ[PREFERENCE_MODELS[kind.name].facts["reads"]](inner.score, hidden, batch)
        found: Tensor = PREFERENCE_MODELS.bind(kind)(*parts)[:, None] if is_scored(kind.name) else parts[0]
    return found


@torch.no_grad()
def read_rows(
    model: nn.Module,
    kind: Choice,
    rows: Ordered[Sequence],
    *,
    device: torch.device | str,
    precision: str,
    micro_batch_tokens: int,
    progress: str = "",
) -> Array:
    """[n, D] readings of sequences (EOS included), in the order of `rows`; no gradient.

    A reading does not depend on the rows beside it. `progress` names the progress bar; without it there is none.
    """
    parts: list[Array] = [np.empty(0)] * len(rows)
    groups = micro_batches(range(len(rows)), [len(row) for row in rows], micro_batch_tokens)
    for group in tqdm(groups, desc=progress, disable=not progress, unit="batch"):
        with autocast(device, precision):
            found = readings(model, kind, collate([rows[i] for i in group], device))
        for i, reading in zip(group, found.double().cpu().numpy(), strict=True):
            parts[i] = reading
    return np.stack(parts) if parts else np.empty((0, 1))


def pair_logits(kind: Choice, first: Tensor, second: Tensor) -> Tensor:
    """[N] log-odds that the first is preferred, from the readings [N, D] of both; exactly antisymmetric."""
    if is_scored(kind.name):
        return (first - second)[..., 0]
    found: Tensor = PREFERENCE_MODELS.bind(kind)(first, second)
    return found


def measurer(kind: Choice) -> Measurer:
    """What the scorer of training asks: `scores` [N] of every sequence, `logits` [B] of every pair."""

    def measure(
        model: nn.Module, layout: Layout, wanted: frozenset[str], reference: Reference | None = None
    ) -> dict[str, Tensor]:
        found = readings(model, kind, layout.batch)
        said = {"scores": found[:, 0]} if is_scored(kind.name) else {}
        if "logits" in wanted:
            chosen, rejected = ([own[0] for own in layout.numbers(role)] for role in ("chosen", "rejected"))
            said["logits"] = pair_logits(kind, found[chosen], found[rejected])
        return said

    return measure


def probability(logits: ArrayLike) -> Array:
    """P(first is preferred) = sigmoid(logit), fp64; the negated logit gives exactly 1 - p."""
    logit = np.asarray(logits, dtype=np.float64)
    # 1 - p is exact for p in [0.5, 1], and only there: so the side that is preferred is computed, the other follows
    likely = 0.5 * (1 + np.tanh(np.abs(logit) / 2))
    return np.where(logit < 0, 1 - likely, likely)

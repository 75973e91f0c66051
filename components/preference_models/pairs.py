"""Both completions of a pair read in one forward pass, the common prompt computed once where that is faster."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from components.contract import Choice
from components.preference_models.readings import Array, readings
from components.sequences import Example
from components.training.batching import Batch, collate, collate_shared, micro_batches
from components.training.runtime import autocast

log = logging.getLogger(__name__)

GAIN = 1.3  # shared prompts need a full attention mask: worth it when they save this factor of tokens (measured, CPU)
TOLERANCE = 1e-4  # a larger difference of readings means that the model does not honour the mask
_shares: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def pair_readings(
    model: nn.Module, kind: Choice, pairs: Sequence[Example], device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """(chosen [B, D], rejected [B, D]) fp32 readings of the two sequences of each example, with gradient."""
    shared = _saves_work(pairs) and _can_share(model, kind, pairs, device)
    found = readings(model, kind, _shared(pairs, device) if shared else _plain(pairs, device))
    return found[: len(pairs)], found[len(pairs) :]


@torch.no_grad()
def read_pairs(
    model: nn.Module,
    kind: Choice,
    pairs: Sequence[Example],
    *,
    device: torch.device | str,
    precision: str,
    micro_batch_tokens: int,
    progress: str = "",
) -> tuple[Array, Array]:
    """(chosen [n, D], rejected [n, D]) readings in the order of `pairs`; no gradient. `progress` names the bar."""
    parts: list[tuple[Array, Array]] = [(np.empty(0), np.empty(0))] * len(pairs)
    groups = micro_batches(range(len(pairs)), [pair.separate_tokens for pair in pairs], micro_batch_tokens)
    for group in tqdm(groups, desc=progress, disable=not progress, unit="batch"):
        with autocast(device, precision):
            chosen, rejected = pair_readings(model, kind, [pairs[i] for i in group], device)
        for i, *both in zip(group, chosen.double().cpu().numpy(), rejected.double().cpu().numpy(), strict=True):
            parts[i] = (both[0], both[1])
    if not parts:
        return np.empty((0, 1)), np.empty((0, 1))
    return np.stack([chosen for chosen, _ in parts]), np.stack([rejected for _, rejected in parts])


def _plain(pairs: Sequence[Example], device: torch.device | str) -> Batch:
    return collate([pair.sequences[side] for side in (0, 1) for pair in pairs], device)


def _shared(pairs: Sequence[Example], device: torch.device | str) -> Batch:
    groups = [(pair.sequences[0].prompt_ids, [side.completion_ids for side in pair.sequences]) for pair in pairs]
    return collate_shared(groups, device)


def _saves_work(pairs: Sequence[Example]) -> bool:
    return GAIN * max(pair.shared_tokens for pair in pairs) <= max(pair.separate_tokens for pair in pairs)


@torch.no_grad()
def _can_share(model: nn.Module, kind: Choice, pairs: Sequence[Example], device: torch.device | str) -> bool:
    """Whether shared prompts give this model's plain readings (measured once per model, in fp32, on a short pair)."""
    if model not in _shares:
        short = [
            replace(s, prompt_ids=s.prompt_ids[-16:], completion_ids=s.completion_ids[-8:]) for s in pairs[0].sequences
        ]
        probe = [Example(tuple(short))]
        with torch.autocast(torch.device(device).type, enabled=False):
            together, apart = (readings(model, kind, make(probe, device)) for make in (_shared, _plain))
        gap = (together - apart).abs().max().item()
        _shares[model] = gap <= TOLERANCE
        if not _shares[model]:
            log.warning("rewards: this model does not take shared prompts (gap %.1e); computing each one twice", gap)
    return _shares[model]

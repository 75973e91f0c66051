"""Both completions of a pair read in one forward pass, the common prompt computed once where that is faster."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from components.contract import Choice
from components.preference_models.readings import Array, readings
from components.training.batching import Batch, collate, collate_shared, micro_batches
from components.training.runtime import autocast
from components.training.tokenize import Row

log = logging.getLogger(__name__)

GAIN = 1.3  # shared prompts need a full attention mask: worth it when they save this factor of tokens (measured, CPU)
TOLERANCE = 1e-4  # a larger difference of readings means that the model does not honour the mask
_shares: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A prompt and two completions as token ids, each completion with its EOS."""

    prompt_ids: Sequence[int]
    chosen_ids: Sequence[int]
    rejected_ids: Sequence[int]

    def __len__(self) -> int:
        """Tokens of the two padded rows that the pair occupies."""
        return 2 * (len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids)))


def pair_readings(
    model: nn.Module, kind: Choice, pairs: Sequence[TokenPair], device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """(chosen [B, D], rejected [B, D]) fp32 readings, with gradient."""
    shared = _saves_work(pairs) and _can_share(model, kind, pairs, device)
    found = readings(model, kind, _shared(pairs, device) if shared else _plain(pairs, device))
    return found[: len(pairs)], found[len(pairs) :]


@torch.no_grad()
def read_pairs(
    model: nn.Module,
    kind: Choice,
    pairs: Sequence[TokenPair],
    *,
    device: torch.device | str,
    precision: str,
    micro_batch_tokens: int,
    progress: str = "",
) -> tuple[Array, Array]:
    """(chosen [n, D], rejected [n, D]) readings in the order of `pairs`; no gradient. `progress` names the bar."""
    parts: list[tuple[Array, Array]] = [(np.empty(0), np.empty(0))] * len(pairs)
    groups = micro_batches(range(len(pairs)), [len(pair) for pair in pairs], micro_batch_tokens)
    for group in tqdm(groups, desc=progress, disable=not progress, unit="batch"):
        with autocast(device, precision):
            chosen, rejected = pair_readings(model, kind, [pairs[i] for i in group], device)
        for i, *both in zip(group, chosen.double().cpu().numpy(), rejected.double().cpu().numpy(), strict=True):
            parts[i] = (both[0], both[1])
    if not parts:
        return np.empty((0, 1)), np.empty((0, 1))
    return np.stack([chosen for chosen, _ in parts]), np.stack([rejected for _, rejected in parts])


def _plain(pairs: Sequence[TokenPair], device: torch.device | str) -> Batch:
    rows = [Row(pair.prompt_ids, pair.chosen_ids) for pair in pairs]
    return collate(rows + [Row(pair.prompt_ids, pair.rejected_ids) for pair in pairs], device)


def _shared(pairs: Sequence[TokenPair], device: torch.device | str) -> Batch:
    return collate_shared([(pair.prompt_ids, (pair.chosen_ids, pair.rejected_ids)) for pair in pairs], device)


def _saves_work(pairs: Sequence[TokenPair]) -> bool:
    together = max(len(pair.prompt_ids) + len(pair.chosen_ids) + len(pair.rejected_ids) for pair in pairs)
    return GAIN * together <= max(map(len, pairs))


@torch.no_grad()
def _can_share(model: nn.Module, kind: Choice, pairs: Sequence[TokenPair], device: torch.device | str) -> bool:
    """Whether shared prompts give this model's plain readings (measured once per model, in fp32, on a short pair)."""
    if model not in _shares:
        first = pairs[0]
        probe = [TokenPair(first.prompt_ids[-16:], first.chosen_ids[-8:], first.rejected_ids[-8:])]
        with torch.autocast(torch.device(device).type, enabled=False):
            together, apart = (readings(model, kind, make(probe, device)) for make in (_shared, _plain))
        gap = (together - apart).abs().max().item()
        _shares[model] = gap <= TOLERANCE
        if not _shares[model]:
            log.warning("rewards: this model does not take shared prompts (gap %.1e); computing each one twice", gap)
    return _shares[model]

"""Rewards of chosen and rejected in one forward pass, the common prompt computed once where that is faster."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from components import sequences
from components.preference_models.scoring import rewards
from components.training.batching import Batch, collate, collate_shared, micro_batches
from components.training.runtime import autocast

log = logging.getLogger(__name__)

GAIN = 1.3  # shared prompts need a full attention mask: worth it when they save this factor of tokens (measured, CPU)
TOLERANCE = 1e-4  # a larger difference of rewards means that the model does not honour the mask
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


def pair_rewards(model: nn.Module, pairs: Sequence[TokenPair], device: torch.device | str) -> tuple[Tensor, Tensor]:
    """(chosen [B], rejected [B]) fp32 rewards, with gradient."""
    batch = _shared(pairs, device) if _saves_work(pairs) and _can_share(model, pairs, device) else _plain(pairs, device)
    values = rewards(model, batch)
    return values[: len(pairs)], values[len(pairs) :]


@torch.no_grad()
def score_pairs(
    model: nn.Module,
    pairs: Sequence[TokenPair],
    *,
    device: torch.device | str,
    precision: str,
    micro_batch_tokens: int,
    progress: str = "",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(chosen [n], rejected [n]) rewards in the order of `pairs`; no gradient. `progress` names the progress bar."""
    found = np.zeros((2, len(pairs)))
    groups = micro_batches(range(len(pairs)), [len(pair) for pair in pairs], micro_batch_tokens)
    for group in tqdm(groups, desc=progress, disable=not progress, unit="batch"):
        with autocast(device, precision):
            values = pair_rewards(model, [pairs[i] for i in group], device)
        found[:, group] = torch.stack(values).double().cpu().numpy()
    return found[0], found[1]


def _plain(pairs: Sequence[TokenPair], device: torch.device | str) -> Batch:
    rows = [sequences.Sequence(pair.prompt_ids, pair.chosen_ids) for pair in pairs]
    return collate(rows + [sequences.Sequence(pair.prompt_ids, pair.rejected_ids) for pair in pairs], device)


def _shared(pairs: Sequence[TokenPair], device: torch.device | str) -> Batch:
    return collate_shared([(pair.prompt_ids, (pair.chosen_ids, pair.rejected_ids)) for pair in pairs], device)


def _saves_work(pairs: Sequence[TokenPair]) -> bool:
    together = max(len(pair.prompt_ids) + len(pair.chosen_ids) + len(pair.rejected_ids) for pair in pairs)
    return GAIN * together <= max(map(len, pairs))


@torch.no_grad()
def _can_share(model: nn.Module, pairs: Sequence[TokenPair], device: torch.device | str) -> bool:
    """Whether shared prompts give this model's plain rewards (measured once per model, in fp32, on a short pair)."""
    if model not in _shares:
        first = pairs[0]
        probe = [TokenPair(first.prompt_ids[-16:], first.chosen_ids[-8:], first.rejected_ids[-8:])]
        with torch.autocast(torch.device(device).type, enabled=False):
            gap = (rewards(model, _shared(probe, device)) - rewards(model, _plain(probe, device))).abs().max().item()
        _shares[model] = gap <= TOLERANCE
        if not _shares[model]:
            log.warning("rewards: this model does not take shared prompts (gap %.1e); computing each one twice", gap)
    return _shares[model]

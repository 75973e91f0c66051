"""Rewards of batches of sequences. The last token is found from lengths, never from the pad id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from tqdm import tqdm

from components import sequences
from components.training.batching import Batch, collate, micro_batches
from components.training.logprobs import unwrap
from components.training.runtime import autocast


def last_positions(batch: Batch) -> Tensor:
    """[N] flat position in [R * T] of the last token of every sequence.

    A row holds a prompt and its completions one after the other (one completion, or K where they share the prompt):
    completion k ends where the first k + 1 lengths after the prompt end.
    """
    rows = batch.input_ids.shape[0]
    last_prompt_token = batch.source[batch.lengths.cumsum(0) - batch.lengths]
    return last_prompt_token + batch.lengths.view(-1, rows).cumsum(0).flatten()


def rewards(model: nn.Module, batch: Batch) -> Tensor:
    """[N] fp32 reward of every sequence of a batch, with gradient.

    The head sees hidden states in fp32 also under autocast: rewards are compared, and bf16 has three digits.
    """
    inner = unwrap(model)
    arguments: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.shared:  # otherwise rows are right-padded, and causal attention alone keeps padding out
        arguments |= {"attention_mask": batch.attention_mask, "position_ids": batch.position_ids}
    hidden = inner.base_model(**arguments)[0].flatten(0, 1)[last_positions(batch)]
    with torch.autocast(hidden.device.type, enabled=False):
        value: Tensor = inner.score(hidden.float()).squeeze(-1)
    return value


@torch.no_grad()
def scores(
    model: nn.Module,
    rows: Sequence[sequences.Sequence],
    *,
    device: torch.device | str,
    precision: str,
    micro_batch_tokens: int,
    progress: str = "",
) -> list[float]:
    """The reward of every row (prompt and completion ids, EOS included), in the order of `rows`; no gradient.

    A score does not depend on the rows beside it. `progress` names the progress bar; without it there is none.
    """
    found = [0.0] * len(rows)
    groups = micro_batches(range(len(rows)), [len(row) for row in rows], micro_batch_tokens)
    for group in tqdm(groups, desc=progress, disable=not progress, unit="batch"):
        with autocast(device, precision):
            values = rewards(model, collate([rows[i] for i in group], device))
        for i, value in zip(group, values.tolist(), strict=True):
            found[i] = value
    return found


def probability(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """P(first is preferred) = sigmoid(first - second) from rewards, in fp64; swapping the two gives exactly 1 - p."""
    difference = np.asarray(first, dtype=np.float64) - np.asarray(second, dtype=np.float64)
    return 0.5 * (1 + np.tanh(difference / 2))

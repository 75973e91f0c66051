"""Batches: which examples form a step (a pure function of seed and epoch), and how rows become tensors.

Rows are right-padded. A causal model's real tokens then never see the padding, and which tokens count is stated by
index tensors built from lengths: nothing is inferred from pad ids or values, so pad == eos is harmless.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components import sequences
from components.errors import RecordError

WINDOW = 32  # most batches whose rows are sorted by length together: 6 % padding where random batches have 50 to 70 %
WINDOWS = 4  # least windows of an epoch: with one, every epoch of a small set would be cut into the same batches


@dataclass(frozen=True)
class Batch:
    """N sequences (prompt + completion) as tensors; completion tokens are listed, not masked.

    `input_ids` [R, T] right-padded; R = N, or fewer when several completions share the row of their prompt.
    `attention_mask` [R, T] of {0, 1}, or boolean [R, 1, T, T] for shared prompts; `position_ids` [R, T].
    `source` [M] flat positions in [R * T] whose hidden state predicts a completion token, `targets` [M] those tokens,
    `sequence` [M] and `offset` [M] say which sequence and which of its completion tokens it is, `lengths` [N] counts
    them and `longest` is the largest count (a plain number: reading it from the device would stall it).
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    source: Tensor
    targets: Tensor
    sequence: Tensor
    offset: Tensor
    lengths: Tensor
    longest: int

    @property
    def shared(self) -> bool:
        return self.attention_mask.ndim == 4


def epoch_batches(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """The batches of one epoch as lists of row numbers: every row once, rows of a batch of similar length.

    Rows are shuffled, windows of several batches sorted by length and cut into batches, the order of the batches
    shuffled. When the rows do not fill the last batch, all batches are made as equal as possible (sizes differ by at
    most one, none above `batch_size`), so that no step rests on a handful of rows.
    """
    rng = np.random.Generator(np.random.PCG64([seed, epoch]))
    count = len(lengths)
    order = rng.permutation(count)
    sizes = [len(part) for part in np.array_split(order, max(1, -(-count // batch_size)))]
    cost = np.asarray(lengths)
    batches: list[list[int]] = []
    start = 0
    width = min(WINDOW, max(1, len(sizes) // WINDOWS))
    for first in range(0, len(sizes), width):
        window = sizes[first : first + width]
        rows = order[start : start + sum(window)]
        start += sum(window)
        rows = rows[np.argsort(cost[rows], kind="stable")]
        batches += [part.tolist() for part in np.split(rows, np.cumsum(window)[:-1])]
    return [batches[i] for i in rng.permutation(len(batches))]


def micro_batches(rows: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Split rows (numbers into `lengths`) into groups of at most `budget` tokens, padding included; longest first.

    A row longer than the budget forms a group of its own: the budget bounds memory, it never drops or cuts.
    """
    groups: list[list[int]] = []
    for row in sorted(rows, key=lambda row: (-lengths[row], row)):
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= budget:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def collate(rows: Sequence[sequences.Sequence], device: torch.device | str) -> Batch:
    """One padded row per sequence. Raises RecordError for an empty prompt: nothing would predict the first token."""
    if not all(row.prompt_ids for row in rows):
        raise RecordError("batch: a prompt has no tokens (got 0). Give plain texts a BOS token as their prompt.")
    width = max(len(row) for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    mask = np.zeros((len(rows), width), dtype=np.int64)
    source, targets, counts = [], [], []
    for i, row in enumerate(rows):
        start, end = len(row.prompt_ids), len(row)
        ids[i, :start] = row.prompt_ids
        ids[i, start:end] = row.completion_ids
        mask[i, :end] = 1
        source.append(np.arange(i * width + start - 1, i * width + end - 1))
        targets.append(ids[i, start:end])
        counts.append(end - start)
    positions = np.tile(np.arange(width), (len(rows), 1))
    return _to_batch(ids, mask, positions, source, targets, counts, device)


def collate_shared(
    groups: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]], device: torch.device | str
) -> Batch:
    """One row per prompt: prompt, then its K completions, each seeing the prompt and itself only.

    Positions of every completion continue those of the prompt, so each sequence is computed as if it stood alone.
    `groups`: (prompt ids, K completions); sequences are numbered completion-major: k * len(groups) + group.
    """
    total = [len(prompt) + sum(map(len, completions)) for prompt, completions in groups]
    width, k = max(total), len(groups[0][1])
    ids = np.zeros((len(groups), width), dtype=np.int64)
    positions = np.zeros((len(groups), width), dtype=np.int64)
    block = np.zeros((len(groups), width), dtype=np.int64)  # 0 prompt, 1..K completion, -1 padding
    source: list[np.ndarray] = [np.empty(0)] * (k * len(groups))
    targets, counts = list(source), [0] * len(source)
    for g, (prompt, completions) in enumerate(groups):
        start = len(prompt)
        ids[g, :start] = prompt
        positions[g, :start] = np.arange(start)
        for j, completion in enumerate(completions):
            end = start + len(completion)
            ids[g, start:end] = completion
            positions[g, start:end] = np.arange(len(prompt), len(prompt) + len(completion))
            block[g, start:end] = j + 1
            where = np.arange(g * width + start - 1, g * width + end - 1)
            where[:1] = g * width + len(prompt) - 1  # the last prompt token predicts the first token of each
            source[j * len(groups) + g], targets[j * len(groups) + g] = where, ids[g, start:end]
            counts[j * len(groups) + g] = len(completion)
            start = end
        block[g, start:] = -1
    causal = np.tril(np.ones((width, width), dtype=bool))
    same = (block[:, :, None] == block[:, None, :]) | (block[:, None, :] == 0)
    return _to_batch(ids, (same & causal)[:, None], positions, source, targets, counts, device)


def _to_batch(
    ids: np.ndarray,
    mask: np.ndarray,
    positions: np.ndarray,
    source: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    counts: Sequence[int],
    device: torch.device | str,
) -> Batch:
    arrays = {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": positions,
        "source": np.concatenate(source),
        "targets": np.concatenate(targets),
        "sequence": np.repeat(np.arange(len(counts)), counts),
        "offset": np.concatenate([np.arange(count) for count in counts]),
        "lengths": np.asarray(counts),
    }
    tensors: dict[str, Any] = {
        name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in arrays.items()
    }
    return Batch(**tensors, longest=max(counts))

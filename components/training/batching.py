"""Batches: which examples form a step (a pure function of seed and epoch), and how rows become tensors.

Rows are right-padded. A causal model's real tokens then never see the padding, and which tokens count is stated by
index tensors built from lengths: nothing is inferred from pad ids or values, so pad == eos is harmless.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.errors import RecordError
from components.sequences import Sequence
from components.training.shared_attention import Cuts, cut

WINDOW = 32  # most batches whose rows are sorted by length together: 6 % padding where random batches have 50 to 70 %
WINDOWS = 4  # least windows of an epoch: with one, every epoch of a small set would be cut into the same batches


@dataclass(frozen=True)
class Batch:
    """N sequences (prompt + completion) as tensors; the completion tokens that count are listed, not masked.

    `input_ids` [R, T] right-padded; R = N, or fewer when several completions share the row of their prompt.
    `attention_mask` and `position_ids` [R, T]; `cuts` where prompts are shared: then no mask says who sees whom.
    `source` [M] flat positions in [R * T] whose hidden state predicts a token that counts, `targets` [M] those tokens,
    `sequence` [M] and `offset` [M] say which sequence and which of its counted tokens it is, `lengths` [N] counts them
    and `longest` is the largest count (a plain number: reading it from the device would stall it). `own` [M] flat
    positions of the counted tokens themselves, `last` [N] that of the last token of each sequence. `ends` [P]: which of
    the M ends a span (a sequence without spans is one), `part` [P] the number of that span in its sequence, and `parts`
    is the largest number of spans.
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    source: Tensor
    targets: Tensor
    sequence: Tensor
    offset: Tensor
    lengths: Tensor
    own: Tensor
    last: Tensor
    ends: Tensor
    part: Tensor
    longest: int
    parts: int
    cuts: Cuts | None = None


def epoch_batches(lengths: Ordered[int], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
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


def micro_batches(rows: Ordered[int], lengths: Ordered[int], budget: int) -> list[list[int]]:
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


def collate(sequences: Ordered[Sequence], device: torch.device | str) -> Batch:
    """One padded row per sequence. Raises RecordError for an empty prompt: nothing would predict the first token."""
    return _batch(sequences, range(len(sequences)), device, shared=False)


def collate_shared(sequences: Ordered[Sequence], rows: Ordered[int], device: torch.device | str) -> Batch:
    """One row per prompt: prompt, then the completions that answer it, each seeing the prompt and itself only.

    `rows[n]`: the row of sequence n; those of one row have equal prompts. Positions of every completion continue those
    of the prompt, so each sequence is computed as if it stood alone.
    """
    return _batch(sequences, rows, device, shared=True)


def _batch(sequences: Ordered[Sequence], rows: Ordered[int], device: torch.device | str, *, shared: bool) -> Batch:
    if not all(sequence.prompt_ids for sequence in sequences):
        raise RecordError("batch: a prompt has no tokens (got 0). Give plain texts a BOS token as their prompt.")
    ends, firsts = [0] * (max(rows) + 1), [0] * (max(rows) + 1)
    prompts = list(ends)
    for sequence, row in zip(sequences, rows, strict=True):
        prompts[row], firsts[row] = len(sequence.prompt_ids), firsts[row] or len(sequence.completion_ids)
        ends[row] = (ends[row] or prompts[row]) + len(sequence.completion_ids)
    width = max(ends)
    ids, positions = np.zeros((2, len(ends), width), dtype=np.int64)
    positions[:] = np.arange(width)
    places, later = [], []
    for sequence, row, start in _places(sequences, rows):
        prompt, end = len(sequence.prompt_ids), start + len(sequence.completion_ids)
        ids[row, :prompt], ids[row, start:end] = sequence.prompt_ids, sequence.completion_ids
        if start > prompt:
            later.append((row, start, end))
            positions[row, start:end] = np.arange(prompt, prompt + end - start)
        predicted = np.arange(row * width + start - 1, row * width + end - 1)
        predicted[:1] = row * width + prompt - 1  # the last prompt token predicts the first token of each
        own = np.arange(row * width + start, row * width + end)
        counted = slice(None) if sequence.spans is None else sequence.counted
        places.append((predicted[counted], ids[row, start:end][counted], own[counted], own[-1]))
    mask = (np.arange(width) < np.array(ends)[:, None]).astype(np.int64)
    cuts = cut(prompts, firsts, later, width, device) if shared else None
    return _to_batch(ids, mask, positions, places, [sequence.part_lengths for sequence in sequences], cuts, device)


def _places(sequences: Ordered[Sequence], rows: Ordered[int]) -> Iterable[tuple[Sequence, int, int]]:
    """Each sequence with its row and the place where its completion starts: after the prompt, or what stands there."""
    filled: dict[int, int] = {}
    for sequence, row in zip(sequences, rows, strict=True):
        start = filled.get(row, len(sequence.prompt_ids))
        filled[row] = start + len(sequence.completion_ids)
        yield sequence, row, start


def _to_batch(
    ids: np.ndarray,
    mask: np.ndarray,
    positions: np.ndarray,
    places: list[tuple[np.ndarray, np.ndarray, np.ndarray, int]],
    parts: list[list[int]],
    cuts: Cuts | None,
    device: torch.device | str,
) -> Batch:
    source, targets, own, last = zip(*places, strict=True)
    counts = [len(one) for one in targets]
    arrays = {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": positions,
        "source": np.concatenate(source),
        "targets": np.concatenate(targets),
        "sequence": np.repeat(np.arange(len(counts)), counts),
        "offset": np.concatenate([np.arange(count) for count in counts]),
        "lengths": np.asarray(counts),
        "own": np.concatenate(own),
        "last": np.asarray(last),
        "ends": np.cumsum([length for of_one in parts for length in of_one]) - 1,
        "part": np.concatenate([np.arange(len(of_one)) for of_one in parts]),
    }
    tensors: dict[str, Any] = {
        name: torch.from_numpy(array).to(device, non_blocking=True) for name, array in arrays.items()
    }
    return Batch(**tensors, longest=max(counts), parts=max(map(len, parts)), cuts=cuts)

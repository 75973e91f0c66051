"""Batches are a pure function of seed and epoch; the tensors say by index which tokens count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import RecordError
from components.sequences import Sequence
from components.training.batching import collate, collate_shared, epoch_batches, micro_batches

LENGTHS = st.lists(st.integers(1, 50), min_size=1, max_size=80)


@given(LENGTHS, st.integers(1, 12), st.integers(0, 3))
def test_an_epoch_holds_every_row_once_in_batches_of_almost_one_size(lengths: list[int], size: int, epoch: int) -> None:
    batches = epoch_batches(lengths, size, seed=1, epoch=epoch)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    sizes = {len(batch) for batch in batches}
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    assert len(batches) == -(-len(lengths) // size)
    assert batches == epoch_batches(lengths, size, seed=1, epoch=epoch)


def test_epochs_and_seeds_shuffle_differently() -> None:
    lengths = list(range(64))
    first = epoch_batches(lengths, 8, seed=0, epoch=0)
    assert first != epoch_batches(lengths, 8, seed=0, epoch=1)
    assert first != epoch_batches(lengths, 8, seed=1, epoch=0)


def test_a_small_set_is_cut_differently_in_every_epoch() -> None:
    """Sorting all rows at once would put the same rows together in every epoch."""
    lengths = list(range(32))
    first, second = (epoch_batches(lengths, 8, seed=0, epoch=epoch) for epoch in (0, 1))
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}


def test_rows_of_a_batch_have_similar_lengths_and_batches_come_in_no_order_of_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 1000, 512)
    batches = epoch_batches(lengths.tolist(), 8, seed=0, epoch=0)
    spread = np.mean([np.ptp(lengths[batch]) for batch in batches])
    assert spread < 0.2 * np.ptp(lengths)  # of random rows it would be about 0.8
    means = [lengths[batch].mean() for batch in batches]
    assert abs(np.corrcoef(means, range(len(means)))[0, 1]) < 0.3


@given(LENGTHS, st.integers(1, 200))
def test_micro_batches_keep_the_budget_and_every_row(lengths: list[int], budget: int) -> None:
    groups = micro_batches(range(len(lengths)), lengths, budget)
    assert sorted(row for group in groups for row in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[row] for row in group) <= budget


def test_index_tensors_by_hand() -> None:
    # two rows of width 5: prompt 2 + completion 3, and prompt 1 + completion 2 (then 2 pads)
    batch = collate([Sequence([7, 8], [9, 10, 2]), Sequence([7], [11, 2])], "cpu")
    assert batch.input_ids.tolist() == [[7, 8, 9, 10, 2], [7, 11, 2, 0, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert batch.source.tolist() == [1, 2, 3, 5, 6]  # the position before each completion token, row 1 starts at 5
    assert batch.targets.tolist() == [9, 10, 2, 11, 2]
    assert batch.sequence.tolist() == [0, 0, 0, 1, 1]
    assert batch.offset.tolist() == [0, 1, 2, 0, 1]
    assert batch.lengths.tolist() == [3, 2]


def test_shared_prompt_tensors_by_hand() -> None:
    batch = collate_shared([Sequence([7, 8], [9, 2]), Sequence([7, 8], [10, 11, 2])], [0, 0], "cpu")
    assert batch.input_ids.tolist() == [[7, 8, 9, 2, 10, 11, 2]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 3, 2, 3, 4]]
    assert batch.source.tolist() == [1, 2, 1, 4, 5]  # the last prompt token predicts the first token of both
    assert batch.targets.tolist() == [9, 2, 10, 11, 2]
    cuts = batch.cuts
    assert cuts is not None
    assert cuts.first == 4  # prompt and first completion are a causal row
    assert cuts.query.tolist() == [[4, 5, 6]]  # the second completion,
    assert cuts.key.tolist() == [[0, 1, 4, 5, 6]]  # which sees the prompt and itself, not the first
    assert cuts.back.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert batch.last.tolist() == [3, 6]


def test_rows_may_hold_any_number_of_completions() -> None:
    """Three completions of one prompt and one of another, sequences numbered first ones first."""
    one, other = [7, 8], [5]
    sequences = [Sequence(one, [9, 2]), Sequence(other, [11, 2]), Sequence(one, [10, 2]), Sequence(one, [12, 2])]
    batch = collate_shared(sequences, [0, 1, 0, 0], "cpu")
    assert batch.input_ids.tolist() == [[7, 8, 9, 2, 10, 2, 12, 2], [5, 11, 2, 0, 0, 0, 0, 0]]
    assert batch.source.tolist() == [1, 2, 8, 9, 1, 4, 1, 6]
    assert batch.sequence.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert batch.last.tolist() == [3, 10, 5, 7]


def test_spans_choose_the_tokens_that_count() -> None:
    """Of the completion 9 10 11 2 the first and the last two tokens."""
    batch = collate([Sequence([7, 8], [9, 10, 11, 2], spans=((0, 1), (2, 4)))], "cpu")
    assert batch.source.tolist() == [1, 3, 4]
    assert batch.targets.tolist() == [9, 11, 2]
    assert batch.offset.tolist() == [0, 1, 2]
    assert (batch.lengths.tolist(), batch.last.tolist()) == ([3], [5])
    assert batch.own.tolist() == [2, 4, 5]
    assert (batch.ends.tolist(), batch.part.tolist(), batch.parts) == ([0, 2], [0, 1], 2)


def test_an_empty_prompt_is_refused() -> None:
    with pytest.raises(RecordError, match="a prompt has no tokens"):
        collate([Sequence([], [5, 2])], "cpu")

"""Comparisons of a curated data set as token ids. Nothing is cut; what is left out is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from components.errors import ParamsError
from components.preference_models import TokenPair
from components.records import Comparison, comparisons, read_records
from components.sequences.tokenize import encode_pair


@dataclass(frozen=True)
class Split:
    """The comparisons of a split, their token ids, and what was left out by reason."""

    comparisons: list[Comparison]
    pairs: list[TokenPair]
    dropped: dict[str, int]


def read_split(path: Path, tokenizer: Any, *, keep_ties: bool, max_length: int, what: str) -> Split:
    """Read and encode one split. Pairs that are the same tokens twice are left out, and ties unless `keep_ties`.

    Raises ParamsError if a completion with its prompt is longer than `max_length` tokens.
    """
    found = comparisons(read_records(path))
    dropped: Counter[str] = Counter(found.dropped)
    kept, pairs = [], []
    for item in tqdm(found.items, desc=f"encode {what}", unit="pair", disable=len(found.items) < 1000):
        if item.tie and not keep_ties:
            dropped["tie"] += 1
            continue
        chosen = encode_pair(tokenizer, item.messages, item.chosen)
        rejected = encode_pair(tokenizer, item.messages, item.rejected)
        if chosen.completion_ids == rejected.completion_ids:
            dropped["identical completions"] += 1
            continue
        kept.append(item)
        pairs.append(TokenPair(chosen.prompt_ids, chosen.completion_ids, rejected.completion_ids))
    _check_lengths(kept, pairs, max_length, what)
    return Split(kept, pairs, dict(sorted(dropped.items())))


def _check_lengths(items: Sequence[Comparison], pairs: Sequence[TokenPair], max_length: int, what: str) -> None:
    lengths = [len(pair) // 2 for pair in pairs]
    longer = [i for i, length in enumerate(lengths) if length > max_length]
    if longer:
        worst = max(longer, key=lambda i: lengths[i])
        raise ParamsError(
            f"reward_modeling.max_length: {len(longer)} comparisons of {what} are longer than {max_length} tokens "
            f"(got {lengths[worst]} in record {items[worst].record_id}). Raise it (and use a base with that context), "
            "or curate with a smaller limit."
        )

"""Attention over rows that share their prompt, without the blocks that no token may look at.

A shared row is a prompt and the completions that answer it. Prompt and first completion are an ordinary causal row;
the queries of every later completion meet the keys of the prompt and their own. Both are given to the attention that
the model has anyway, so its scale, soft cap, sinks and grouped heads hold; sliding windows are told by the model and
follow the positions, in which a later completion stands right behind its prompt.

    batch = collate_shared(sequences, rows, device)          # has `cuts`
    model(input_ids=batch.input_ids, **attention_arguments(model, batch))

Works for models whose attention goes through transformers' interface; others raise, or compute something else, and
`share_prompts` sees it by measuring.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from collections.abc import Sequence as Ordered
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, eager_mask, sdpa_mask

if TYPE_CHECKING:
    from components.training.batching import Batch

Attend = Callable[..., tuple[Tensor, Any]]


@dataclass(frozen=True)
class Cuts:
    """Where the rows [R, T] of a batch are cut: a first block, then n later completions.

    `first`: width of the block that holds every prompt with its first completion. Of each later completion, padded:
    `query` [n, C] its flat positions in [R * T], `key` [n, K] those of its prompt and then its own, `prompt` and
    `length` [n, 1] tokens of both. `back` [R * T]: where each position is found in the outputs of the first block,
    [R * first], followed by those of the later ones, [n * C].
    """

    first: int
    query: Tensor
    key: Tensor
    prompt: Tensor
    length: Tensor
    back: Tensor
    _masks: dict[Any, Tensor] = field(default_factory=dict, repr=False, compare=False)

    def first_mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """[1, 1, first, first] additive: every token sees itself and the `window` - 1 before it."""
        places = torch.arange(self.first, device=self.back.device)
        return self._mask(("first", window, dtype), (places[None] - places[:, None])[None, None], None)

    def later_mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """[n, 1, C, K] additive; queries of the padding see everything, or a softmax would have nothing to sum."""
        queries, keys = (torch.arange(t.shape[1], device=t.device) for t in (self.query, self.key))
        ahead = keys - queries[:, None] - self.prompt[..., None]
        padding = (queries >= self.length)[..., None]
        return self._mask(("later", window, dtype), ahead[:, None], padding[:, None])

    def _mask(self, name: tuple[str, int | None, torch.dtype], ahead: Tensor, padding: Tensor | None) -> Tensor:
        """From how many positions a key is ahead of the query; kept, as all layers ask for the same ones."""
        if name not in self._masks:
            _, window, dtype = name
            seen = ahead <= 0
            if window is not None:
                seen &= ahead > -window
            if padding is not None:
                seen |= padding
            hidden = torch.full((), torch.finfo(dtype).min, dtype=dtype, device=seen.device)
            self._masks[name] = torch.where(seen, torch.zeros_like(hidden), hidden)
        return self._masks[name]


def cut(
    prompts: Ordered[int], firsts: Ordered[int], later: Ordered[tuple[int, int, int]], width: int, device: Any
) -> Cuts:
    """The cuts of rows of `width` tokens.

    `prompts`, `firsts`: tokens of the prompt, and of the first completion, of each row. `later`: (row, start, end) of
    every other completion.
    """
    block = max(prompt + first for prompt, first in zip(prompts, firsts, strict=True))
    longest = max((end - start for _, start, end in later), default=0)
    keys = max((prompts[row] + end - start for row, start, end in later), default=0)
    query, key = np.zeros((len(later), longest), dtype=np.int64), np.zeros((len(later), keys), dtype=np.int64)
    back = np.zeros((len(prompts), width), dtype=np.int64)
    for row, (prompt, first) in enumerate(zip(prompts, firsts, strict=True)):
        back[row, : prompt + first] = np.arange(row * block, row * block + prompt + first)
    for n, (row, start, end) in enumerate(later):
        own, length, prompt = np.arange(row * width + start, row * width + end), end - start, prompts[row]
        query[n, :length] = own
        key[n, :prompt], key[n, prompt : prompt + length] = np.arange(row * width, row * width + prompt), own
        back[row, start:end] = len(prompts) * block + n * longest + np.arange(length)
    counts = np.array([[prompts[row], end - start] for row, start, end in later], dtype=np.int64).reshape(-1, 2)
    arrays = (query, key, counts[:, :1], counts[:, 1:], back.ravel())
    query_at, key_at, prompt_at, length_at, back_at = (torch.from_numpy(array).to(device) for array in arrays)
    return Cuts(block, query_at, key_at, prompt_at, length_at, back_at)


def attention_arguments(model: Any, batch: Batch) -> dict[str, Any]:
    """What a transformers model must be told of a batch beside its ids; nothing for right-padded rows.

    Causal attention keeps right padding out of every real position, and without a mask the kernels that know only
    `is_causal` are used. Raises ValueError for a model that does not share prompts.
    """
    if batch.cuts is None:
        return {}
    _use(model)
    mask = batch.cuts.back.new_ones(len(batch.input_ids), 1, 1, 1, dtype=torch.bool)  # four axes: taken as it is
    return {"attention_mask": mask, "position_ids": batch.position_ids, "shared_cuts": batch.cuts}


def release(model: Any) -> None:
    """Give a model back the attention that it had."""
    name = model.config._attn_implementation
    if name in _BASE_OF:
        model.set_attn_implementation(_BASE_OF[name])


def _use(model: Any) -> None:
    name = model.config._attn_implementation
    if name in _BASE_OF:
        return
    if name not in _NAMES or not model._can_set_attn_implementation():
        raise ValueError(f"{type(model).__name__} computes its attention ({name}) by itself")
    model.set_attn_implementation(_NAMES[name])


def _eager(module: nn.Module) -> Attend:
    found: Attend = sys.modules[type(module).__module__].eager_attention_forward
    return found


def _sdpa(module: nn.Module) -> Attend:
    return sdpa_attention_forward


def _cutting(base: Callable[[nn.Module], Attend], masks_itself: bool) -> Attend:
    """An attention function of transformers' interface around another. `masks_itself`: it can be causal unasked."""

    def attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        shared_cuts: Cuts | None = None,
        **given: Any,
    ) -> tuple[Tensor, Any]:
        if shared_cuts is None:
            return base(module)(module, query, key, value, attention_mask, **given)
        if given.get("position_bias") is not None:
            raise ValueError(f"{type(module).__name__} has a bias for every pair of places in a row")
        given["is_causal"] = True
        window, dtype = given.get("sliding_window"), query.dtype
        bare = masks_itself and (window is None or window >= shared_cuts.first)
        mask = None if bare else shared_cuts.first_mask(window, dtype)
        block = [states[:, :, : shared_cuts.first] for states in (query, key, value)]
        first, _ = base(module)(module, *block, mask, **given)
        if not len(shared_cuts.query):
            return _whole(first, None, shared_cuts, len(query)), None
        places = (shared_cuts.query, shared_cuts.key, shared_cuts.key)
        own = [_taken(states, place) for states, place in zip((query, key, value), places, strict=True)]
        later, _ = base(module)(module, *own, shared_cuts.later_mask(window, dtype), **given)
        return _whole(first, later, shared_cuts, len(query)), None

    return attend


def _taken(states: Tensor, places: Tensor) -> Tensor:
    """[n, H, C, D]: of states [R, H, T, D] those at flat places [n, C]."""
    flat = states.transpose(1, 2).flatten(0, 1)
    return flat.index_select(0, places.flatten()).view(*places.shape, *flat.shape[1:]).transpose(1, 2)


def _whole(first: Tensor, later: Tensor | None, cuts: Cuts, rows: int) -> Tensor:
    """[R, T, H, D] from the outputs of both kinds of block, [R, first, H, D] and [n, C, H, D]."""
    parts = [first.flatten(0, 1)] if later is None else [first.flatten(0, 1), later.flatten(0, 1)]
    return torch.cat(parts).index_select(0, cuts.back).view(rows, -1, *first.shape[2:])


_NAMES = {"sdpa": "sdpa_shared_prompts", "eager": "eager_shared_prompts"}
_BASE_OF = {ours: base for base, ours in _NAMES.items()}
AttentionInterface.register(_NAMES["sdpa"], _cutting(_sdpa, masks_itself=True))
AttentionInterface.register(_NAMES["eager"], _cutting(_eager, masks_itself=False))
AttentionMaskInterface.register(_NAMES["sdpa"], sdpa_mask)
AttentionMaskInterface.register(_NAMES["eager"], eager_mask)

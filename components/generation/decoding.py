"""Rows that grow token by token: with a key-value cache, or computed again each time where a cache is not the same.

Whether a model keeps its numbers with a cache is measured on it, once, at the length that is sampled: states that are
carried from token to token, caches of other kinds and windows all show there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import DynamicCache

from components.errors import first_line

log = logging.getLogger(__name__)

TOLERANCE = 1e-4  # nats, of the log-probability of any token
STEPS = 3
"""Tokens for which both ways are compared."""
_keeps: WeakKeyDictionary[Any, tuple[int, bool]] = WeakKeyDictionary()


class Rows(Protocol):
    """K samples of each of P prompts, prompt-major. `logits` [N, V] predict the next token of every row."""

    logits: Tensor

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        ...

    def step(self, tokens: Tensor) -> None:
        """Append one token [N] to every row."""
        ...


def begin(model: Any, prompts: Sequence[Sequence[int]], samples: int, device: Any, *, longest: int) -> Rows:
    """The rows of a batch, in the fastest way that keeps this model's numbers for rows of `longest` tokens."""
    known, keeps = _keeps.get(model, (0, True))
    if keeps and known < longest:
        keeps = _is_the_same(model, prompts, device, longest)
        _keeps[model] = (longest, keeps)
    return Cached(model, prompts, samples, device) if keeps else Recomputed(model, prompts, samples, device)


@torch.no_grad()
def _is_the_same(model: Any, prompts: Sequence[Sequence[int]], device: Any, longest: int) -> bool:
    """Compare both ways for a row of `longest` tokens beside a short one, two samples of each, one of which ends."""
    words = [token for prompt in prompts for token in prompt]
    long = (words * (1 + longest // len(words)))[: max(1, longest - STEPS)]
    probe = [long, long[: 1 + len(long) // 3]]
    gap = 0.0
    with torch.autocast(torch.device(device).type, enabled=False):
        plain = Recomputed(model, probe, 2, device)
        try:
            cached = Cached(model, probe, 2, device)
            for step in range(STEPS):
                gap = max(gap, float((plain.logits.log_softmax(-1) - cached.logits.log_softmax(-1)).abs().max()))
                tokens = plain.logits.argmax(-1)
                if step == 1:
                    going = torch.tensor([0, 2, 3], device=device)
                    tokens = tokens[going]
                    plain.keep(going)
                    cached.keep(going)
                plain.step(tokens)
                cached.step(tokens)
        except (AttributeError, RuntimeError, ValueError, TypeError, LookupError) as error:
            log.warning("sampling: no cache for %s (%s); computing every token anew", _name(model), first_line(error))
            return False
    if not gap <= TOLERANCE:
        log.warning("sampling: %s says something else with a cache (gap %.1e); computing anew", _name(model), gap)
    return gap <= TOLERANCE


def _name(model: Any) -> str:
    return type(model).__name__


class Recomputed:
    """Every row is computed from its beginning for each of its tokens."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], samples: int, device: Any) -> None:
        self.model, self.device = model, device
        self._rows = [list(prompt) for prompt in prompts for _ in range(samples)]
        self.logits = self._forward()

    def _forward(self) -> Tensor:
        """Right-padded: causal models do not see what follows."""
        ends = torch.tensor([len(row) - 1 for row in self._rows], device=self.device)
        width = int(ends.max()) + 1
        ids = torch.tensor([row + [0] * (width - len(row)) for row in self._rows], device=self.device)
        logits: Tensor = self.model(input_ids=ids, use_cache=False).logits
        return logits[torch.arange(len(ids), device=self.device), ends]

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        self._rows = [self._rows[row] for row in rows.tolist()]
        self.logits = self.logits[rows]

    def step(self, tokens: Tensor) -> None:
        """Append one token to every row."""
        for row, token in zip(self._rows, tokens.tolist(), strict=True):
            row.append(token)
        self.logits = self._forward()


class Cached:
    """With a key-value cache; samples of a prompt share its prefill."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], samples: int, device: Any) -> None:
        self.model, self.device = model, device
        width, lengths = max(map(len, prompts)), [len(prompt) for prompt in prompts]
        ids = torch.zeros((len(prompts), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):  # left padding: every row's next token is in the same column
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        positions = (mask.cumsum(1) - 1).clamp(min=0).to(device)
        self.cache = DynamicCache(config=model.config)
        self.mask: Tensor | None = None if min(lengths) == width else mask.to(device)
        self.logits = self._forward(ids.to(device), positions)
        self.next_position = torch.tensor(lengths, device=device)
        self._repeat(samples)

    def _repeat(self, samples: int) -> None:
        if samples > 1:
            self.cache.batch_repeat_interleave(samples)
            self.mask = None if self.mask is None else self.mask.repeat_interleave(samples, 0)
            self.logits = self.logits.repeat_interleave(samples, 0)
            self.next_position = self.next_position.repeat_interleave(samples)

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        out = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = out.logits[:, -1]
        return logits

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        self.cache.batch_select_indices(rows)
        self.mask = None if self.mask is None else self.mask[rows]
        self.logits = self.logits[rows]
        self.next_position = self.next_position[rows]

    def step(self, tokens: Tensor) -> None:
        """Append one token to every row."""
        if self.mask is not None:
            self.mask = torch.cat([self.mask, self.mask.new_ones((len(tokens), 1))], 1)
        self.logits = self._forward(tokens[:, None], self.next_position[:, None])
        self.next_position = self.next_position + 1

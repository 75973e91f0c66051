"""Log-probabilities of completion tokens, computed only where they are needed.

The backbone runs over whole rows; the output layer (`head`) only on the hidden states that predict a token that counts.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence as Ordered
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from tqdm import tqdm

from components.model_files.positions import check_longest
from components.sequences import Sequence
from components.training.batching import Batch, collate, micro_batches
from components.training.head import Predictions, head_logps
from components.training.runtime import autocast
from components.training.shared_attention import attention_arguments

log = logging.getLogger(__name__)

TOLERANCE = 1e-4  # nats per token: more than this between the fast and the plain path means another function
_verified: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


class Logps(NamedTuple):
    """`sums` [N] log-probability of each completion, `lengths` [N] its tokens with EOS, `tokens` [M] each one's."""

    sums: Tensor
    lengths: Tensor
    tokens: Tensor


def completion_logps(model: nn.Module, batch: Batch) -> Logps:
    """Log-probabilities (nats, fp32, with gradient) of the completions of a batch under a causal language model."""
    tokens = token_logps(predictions(model, batch), batch)
    return Logps(by_token(tokens, batch).sum(1), batch.lengths.to(torch.float32), tokens)


def predictions(model: nn.Module, batch: Batch) -> Predictions:
    """What predicts the tokens that count, with gradient."""
    return _fast(model, batch) if uses_fast_path(model, batch) else _plain(model, batch)


def token_logps(found: Predictions, batch: Batch) -> Tensor:
    """[M] log-probabilities (nats, fp32) of the tokens that count."""
    if found.weight is not None:
        return head_logps(found.hidden, found.weight, found.bias, batch.targets)
    logits = found.hidden.float()
    tokens: Tensor = logits.gather(1, batch.targets[:, None]).squeeze(1) - logits.logsumexp(1)
    return tokens


def by_token(values: Tensor, batch: Batch) -> Tensor:
    """[N, T] from [M]: a row for each sequence, its counted tokens first, then zeros."""
    return values.new_zeros(len(batch.lengths), batch.longest).index_put((batch.sequence, batch.offset), values)


@torch.no_grad()
def sequence_logprobs(
    model: nn.Module,
    rows: Ordered[Sequence],
    *,
    device: torch.device | str,
    precision: str,
    micro_batch_tokens: int,
    progress: str = "",
) -> list[list[float]]:
    """Log-probability of every completion token of every row, in the order of `rows`; no gradient.

    `progress` names the progress bar; without it there is none. Raises ArtifactError for a row longer than the model.
    """
    check_longest(model, max(map(len, rows), default=0), "log-probabilities")
    results: list[list[float]] = [[] for _ in rows]
    groups = micro_batches(range(len(rows)), [len(row) for row in rows], micro_batch_tokens)
    for group in tqdm(groups, desc=progress, disable=not progress, unit="batch"):
        with autocast(device, precision):
            tokens = completion_logps(model, collate([rows[i] for i in group], device)).tokens
        parts = torch.split(tokens, [len(rows[i].counted) for i in group])
        for i, part in zip(group, parts, strict=True):
            results[i] = part.tolist()
    return results


def uses_fast_path(model: nn.Module, batch: Batch) -> bool:
    """Whether hidden states times the output layer reproduce this model's logits (measured once per model)."""
    if model not in _verified:
        _verified[model] = _verify(model, batch)
    return _verified[model]


def unwrap(model: Any) -> Any:
    """The transformers model inside peft's wrapper (its adapters stay active)."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@torch.no_grad()
def _verify(model: nn.Module, batch: Batch) -> bool:
    """Compare both paths on a short padded batch; models with scaled or capped logits fail and take the plain one."""
    inner = unwrap(model)
    if type(inner.get_output_embeddings()) is not nn.Linear or inner.base_model is inner:
        log.warning("log-probabilities: no plain output layer in %s; using the slower path", type(inner).__name__)
        return False
    ids = batch.input_ids[0, :32].tolist()
    cut = max(1, len(ids) // 2)
    probe = collate(
        [Sequence(ids[:1], ids[1:] or ids), Sequence(ids[:1], ids[1:cut] or ids)],
        batch.input_ids.device,
    )
    with torch.autocast(batch.input_ids.device.type, enabled=False):
        fast, plain = token_logps(_fast(model, probe), probe), token_logps(_plain(model, probe), probe)
    gap = (fast - plain).abs().max().item()
    if not gap <= TOLERANCE:
        log.warning(
            "log-probabilities: %s changes its logits after the output layer (gap %.1e); using the slower path",
            type(inner).__name__,
            gap,
        )
    return gap <= TOLERANCE


def _plain(model: nn.Module, batch: Batch) -> Predictions:
    """The model's own logits."""
    arguments = {"attention_mask": batch.attention_mask, "position_ids": batch.position_ids}
    arguments |= attention_arguments(unwrap(model), batch)
    out = model(input_ids=batch.input_ids, use_cache=False, **arguments)
    return Predictions(out.logits.flatten(0, 1)[batch.source], None, None)


def _fast(model: nn.Module, batch: Batch) -> Predictions:
    """Selected hidden states and the output layer."""
    inner = unwrap(model)
    arguments = attention_arguments(inner, batch)
    hidden = inner.base_model(input_ids=batch.input_ids, use_cache=False, **arguments)[0]
    head = inner.get_output_embeddings()
    return Predictions(hidden.flatten(0, 1)[batch.source], head.weight, head.bias)

"""Log-probabilities of completion tokens, computed only where they are needed.

The backbone runs over whole rows; the output layer runs only on the hidden states that predict a completion token,
in chunks, with the log-sum-exp in fp32: neither [N, T, V] logits nor an fp32 copy of them ever exists.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from tqdm import tqdm

from components import sequences
from components.model_files.positions import check_longest
from components.training.batching import Batch, collate, collate_shared, micro_batches
from components.training.runtime import autocast

log = logging.getLogger(__name__)

TOLERANCE = 1e-4  # nats per token: more than this between the fast and the plain path means another function
_KEEP = 1 << 26  # logits kept for the backward pass (256 MB); more are recomputed
_fast: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


class Logps(NamedTuple):
    """`sums` [N] log-probability of each completion, `lengths` [N] its tokens with EOS, `tokens` [M] each one's."""

    sums: Tensor
    lengths: Tensor
    tokens: Tensor


def completion_logps(model: nn.Module, batch: Batch) -> Logps:
    """Log-probabilities (nats, fp32, with gradient) of the completions of a batch under a causal language model."""
    tokens = _fast_tokens(model, batch) if uses_fast_path(model, batch) else _plain_tokens(model, batch)
    padded = tokens.new_zeros(len(batch.lengths), batch.longest).index_put((batch.sequence, batch.offset), tokens)
    return Logps(padded.sum(1), batch.lengths.to(torch.float32), tokens)


@torch.no_grad()
def sequence_logprobs(
    model: nn.Module,
    rows: Sequence[sequences.Sequence],
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
        parts = torch.split(tokens, [len(rows[i].completion_ids) for i in group])
        for i, part in zip(group, parts, strict=True):
            results[i] = part.tolist()
    return results


def uses_fast_path(model: nn.Module, batch: Batch) -> bool:
    """Whether hidden states times the output layer reproduce this model's logits (measured once per model)."""
    if model not in _fast:
        _fast[model] = _verify(model, batch)
    return _fast[model]


@torch.no_grad()
def shares_prompts(model: nn.Module, groups: Sequence[tuple[Sequence[int], Sequence[Sequence[int]]]]) -> bool:
    """Whether this model gives completions that share the row of their prompt the same log-probabilities (measured).

    Models whose attention or positions do not follow the given mask and position ids fail.
    """
    device = next(model.parameters()).device
    probe = [(list(prompt[-32:]), [list(c[:32]) for c in completions]) for prompt, completions in groups[:2]]
    rows = [
        sequences.Sequence(prompt, completions[k]) for k in range(len(probe[0][1])) for prompt, completions in probe
    ]
    with torch.autocast(device.type, enabled=False):
        apart = completion_logps(model, collate(rows, device)).tokens
        together = completion_logps(model, collate_shared(probe, device)).tokens
    gap = (apart - together).abs().max().item()
    if not gap <= TOLERANCE:
        log.warning("log-probabilities: %s does not share prompts (gap %.1e)", type(unwrap(model)).__name__, gap)
    return gap <= TOLERANCE


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
        [sequences.Sequence(ids[:1], ids[1:] or ids), sequences.Sequence(ids[:1], ids[1:cut] or ids)],
        batch.input_ids.device,
    )
    with torch.autocast(batch.input_ids.device.type, enabled=False):
        gap = (_fast_tokens(model, probe) - _plain_tokens(model, probe)).abs().max().item()
    if not gap <= TOLERANCE:
        log.warning(
            "log-probabilities: %s changes its logits after the output layer (gap %.1e); using the slower path",
            type(inner).__name__,
            gap,
        )
    return gap <= TOLERANCE


def _plain_tokens(model: nn.Module, batch: Batch) -> Tensor:
    """[M] from the model's own logits."""
    mask = batch.attention_mask
    out = model(input_ids=batch.input_ids, attention_mask=mask, position_ids=batch.position_ids, use_cache=False)
    logits = out.logits.flatten(0, 1)[batch.source].float()
    tokens: Tensor = logits.gather(1, batch.targets[:, None]).squeeze(1) - logits.logsumexp(1)
    return tokens


def _fast_tokens(model: nn.Module, batch: Batch) -> Tensor:
    """[M] from selected hidden states.

    A right-padded row needs no attention mask: causal attention keeps padding out of every real position, and
    without a mask the attention kernels that know only `is_causal` are used.
    """
    inner = unwrap(model)
    arguments: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.shared:
        arguments |= {"attention_mask": batch.attention_mask, "position_ids": batch.position_ids}
    hidden = inner.base_model(**arguments)[0].flatten(0, 1)[batch.source]
    head = inner.get_output_embeddings()
    return head_logps(hidden, head.weight, head.bias, batch.targets)


def head_logps(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """log softmax(hidden @ weight.T + bias)[target] for each row: [M] fp32 from [M, H], [V, H], [V], [M].

    Under autocast the matrix products run in its dtype; the log-sum-exp is fp32 always.
    """
    kind = hidden.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    with torch.autocast(kind, enabled=False):
        tokens: Tensor = _HeadLogps.apply(hidden.to(dtype), weight, bias, targets)  # type: ignore[no-untyped-call]
    return tokens


class _HeadLogps(torch.autograd.Function):
    """d lp_i / d logits_i = onehot(target_i) - softmax(logits_i), chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
        keep = any(ctx.needs_input_grad) and hidden.shape[0] * weight.shape[0] <= _KEEP
        cast = weight.to(hidden.dtype)
        tokens = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        norms, kept = torch.empty_like(tokens), []
        for part in _chunks(hidden, weight.shape[0]):
            logits = _logits(hidden[part], cast, bias)
            norms[part] = logits.logsumexp(1)
            tokens[part] = logits.gather(1, targets[part, None]).squeeze(1) - norms[part]
            if keep:
                kept.append(logits)
        ctx.save_for_backward(hidden, weight, bias, targets, norms, *kept)
        return tokens

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, targets, norms, *kept = ctx.saved_tensors
        need_hidden, need_weight, need_bias, _ = ctx.needs_input_grad
        cast = weight.to(hidden.dtype)
        d_hidden = torch.empty_like(hidden) if need_hidden else None
        d_weight = torch.zeros_like(weight) if need_weight else None
        d_bias = torch.zeros_like(bias) if need_bias else None
        for i, part in enumerate(_chunks(hidden, weight.shape[0])):
            logits = kept[i] if kept else _logits(hidden[part], cast, bias)
            d_logits = torch.sub(logits, norms[part, None]).exp_().mul_(-grad[part, None])
            d_logits.scatter_add_(1, targets[part, None], grad[part, None])
            if d_bias is not None:
                d_bias += d_logits.sum(0)
            d_logits = d_logits.to(hidden.dtype)
            if d_hidden is not None:
                torch.mm(d_logits, cast, out=d_hidden[part])
            if d_weight is not None:
                d_weight += d_logits.T @ hidden[part]
        return d_hidden, d_weight, d_bias, None


def _chunks(hidden: Tensor, vocabulary: int) -> list[slice]:
    """Slices of rows: 2**20 logits at a time on CPU (they stay in cache), 2**26 on GPU."""
    size = max(16, (1 << 20 if hidden.device.type == "cpu" else 1 << 26) // vocabulary)
    return [slice(start, min(start + size, hidden.shape[0])) for start in range(0, hidden.shape[0], size)]


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = (hidden @ weight.T).float()
    return logits if bias is None else logits + bias

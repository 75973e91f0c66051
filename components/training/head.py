"""What the output layer says of each token: log-probability, entropy, divergence from another model.

Everything is computed in chunks over the tokens, with the log-sum-exp in fp32: neither [N, T, V] logits nor an fp32
copy of them ever exists, forward or backward.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

_KEEP = 1 << 26  # logits kept for the backward pass (256 MB); more are recomputed


class Predictions(NamedTuple):
    """What predicts M tokens: `hidden` [M, H] states, the output layer's `weight` [V, H] and `bias` [V] or None.

    Where a model changes its logits after the output layer, `hidden` are those logits [M, V] and `weight` is None.
    """

    hidden: Tensor
    weight: Tensor | None
    bias: Tensor | None


def head_logps(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """log softmax(hidden @ weight.T + bias)[target] for each row: [M] fp32 from [M, H], [V, H], [V], [M].

    Under autocast the matrix products run in its dtype; the log-sum-exp is fp32 always.
    """
    hidden = _cast(hidden, weight)
    with torch.autocast(hidden.device.type, enabled=False):
        tokens: Tensor = _HeadLogps.apply(hidden, weight, bias, targets)  # type: ignore[no-untyped-call]
    return tokens


def entropies(policy: Predictions) -> Tensor:
    """[M] entropy (nats, fp32) of the distribution that predicts each token."""
    hidden = _cast(policy.hidden, policy.weight)
    with torch.autocast(hidden.device.type, enabled=False):
        found: Tensor = _Entropy.apply(hidden, policy.weight, policy.bias)  # type: ignore[no-untyped-call]
    return found


def divergences(reference: Predictions, policy: Predictions) -> Tensor:
    """[M] KL(reference || policy) (nats, fp32) over the whole vocabulary, with gradient to the policy alone."""
    hidden, other = _cast(policy.hidden, policy.weight), _cast(reference.hidden, reference.weight).detach()
    ours, theirs = (hidden, policy.weight, policy.bias), (other, reference.weight, reference.bias)
    with torch.autocast(hidden.device.type, enabled=False):
        found: Tensor = _Divergence.apply(*ours, *theirs)  # type: ignore[no-untyped-call]
    return found


def _cast(hidden: Tensor, weight: Tensor | None) -> Tensor:
    """Hidden states in the dtype of the matrix products: that of autocast around the caller, else the weights'."""
    if weight is None:
        return hidden
    kind = hidden.device.type
    return hidden.to(torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype)


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
        found = _Gradients(hidden, weight, bias, ctx.needs_input_grad)
        for i, part in enumerate(_chunks(hidden, weight.shape[0])):
            logits = kept[i] if kept else _logits(hidden[part], found.cast, bias)
            d_logits = torch.sub(logits, norms[part, None]).exp_().mul_(-grad[part, None])
            d_logits.scatter_add_(1, targets[part, None], grad[part, None])
            found.add(part, d_logits)
        return *found.all(), None


class _Entropy(torch.autograd.Function):
    """d H_i / d logits_i = -p (log p + H_i), with p = softmax(logits_i), chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        cast = None if weight is None else weight.to(hidden.dtype)
        found = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        for part in _chunks(hidden, _width(hidden, weight)):
            logps = _logits(hidden[part], cast, bias).log_softmax(1)
            found[part] = -(logps.exp() * logps).sum(1)
        ctx.save_for_backward(hidden, weight, bias, found)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, entropy = ctx.saved_tensors
        found = _Gradients(hidden, weight, bias, ctx.needs_input_grad)
        for part in _chunks(hidden, _width(hidden, weight)):
            logps = _logits(hidden[part], found.cast, bias).log_softmax(1)
            found.add(part, logps.exp() * (logps + entropy[part, None]) * -grad[part, None])
        return found.all()


class _Divergence(torch.autograd.Function):
    """d KL_i / d logits_i = softmax(logits_i) - softmax(reference logits_i), chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor | None, bias: Tensor | None, *reference: Any) -> Tensor:
        found = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        for part, ours, theirs in _both(hidden, weight, bias, *reference):
            found[part] = (theirs.exp() * (theirs - ours)).sum(1)
        ctx.save_for_backward(hidden, weight, bias, *reference)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, *reference = ctx.saved_tensors
        found = _Gradients(hidden, weight, bias, ctx.needs_input_grad)
        for part, ours, theirs in _both(hidden, weight, bias, *reference):
            found.add(part, (ours.exp() - theirs.exp()) * grad[part, None])
        return *found.all(), None, None, None


def _both(hidden: Tensor, weight: Tensor | None, bias: Tensor | None, *reference: Any) -> Any:
    """(chunk, log-probabilities [m, V] of the policy, those of the reference)."""
    other_hidden, other_weight, other_bias = reference
    cast = None if weight is None else weight.to(hidden.dtype)
    other_cast = None if other_weight is None else other_weight.to(other_hidden.dtype)
    for part in _chunks(hidden, _width(hidden, weight)):
        ours = _logits(hidden[part], cast, bias).log_softmax(1)
        yield part, ours, _logits(other_hidden[part], other_cast, other_bias).log_softmax(1)


class _Gradients:
    """Those of hidden states, output weights and bias that are asked for, added up chunk by chunk."""

    def __init__(self, hidden: Tensor, weight: Tensor | None, bias: Tensor | None, need: tuple[bool, ...]) -> None:
        self.hidden, self.cast = hidden, None if weight is None else weight.to(hidden.dtype)
        self.d_hidden = torch.empty_like(hidden) if need[0] else None
        self.d_weight = torch.zeros_like(weight) if need[1] and weight is not None else None
        self.d_bias = torch.zeros_like(bias) if need[2] and bias is not None else None

    def add(self, part: slice, d_logits: Tensor) -> None:
        """`d_logits` [m, V] fp32 of the tokens of a chunk."""
        if self.d_bias is not None:
            self.d_bias += d_logits.sum(0)
        d_logits = d_logits.to(self.hidden.dtype)
        if self.cast is None:
            if self.d_hidden is not None:
                self.d_hidden[part] = d_logits
            return
        if self.d_hidden is not None:
            torch.mm(d_logits, self.cast, out=self.d_hidden[part])
        if self.d_weight is not None:
            self.d_weight += d_logits.T @ self.hidden[part]

    def all(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.d_hidden, self.d_weight, self.d_bias


def _width(hidden: Tensor, weight: Tensor | None) -> int:
    return hidden.shape[1] if weight is None else weight.shape[0]


def _chunks(hidden: Tensor, vocabulary: int) -> list[slice]:
    """Slices of rows: 2**20 logits at a time on CPU (they stay in cache), 2**26 on GPU."""
    size = max(16, (1 << 20 if hidden.device.type == "cpu" else 1 << 26) // vocabulary)
    return [slice(start, min(start + size, hidden.shape[0])) for start in range(0, hidden.shape[0], size)]


def _logits(hidden: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    if weight is None:
        return hidden.float()
    logits = (hidden @ weight.T).float()
    return logits if bias is None else logits + bias

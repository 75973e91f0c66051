"""The fast path equals a brute-force loop over single examples: values, losses, gradients."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, GraniteConfig, GraniteForCausalLM, PhiConfig, PhiForCausalLM

from components.sequences import Sequence
from components.training import head
from components.training.batching import collate, collate_shared
from components.training.head import Predictions, divergences, entropies, head_logps
from components.training.logprobs import completion_logps, predictions, sequence_logprobs, uses_fast_path
from tests.components.training.helpers import pairs
from tests.tiny import tiny_model

GROUPS = [(prompt, [chosen, rejected]) for prompt, chosen, rejected in pairs(5, seed=3, shortest=1)]
ROWS = [Sequence(prompt, completions[k]) for k in range(2) for prompt, completions in GROUPS]
SHARED = [*range(5), *range(5)]


def brute_force(model: nn.Module, row: Sequence) -> Tensor:
    """Token by token, one unpadded row, full logits."""
    ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
    scores = model(input_ids=ids).logits[0].log_softmax(-1)
    first = len(row.prompt_ids)
    return torch.stack([scores[t - 1, ids[0, t]] for t in range(first, ids.shape[1])])


def other_models() -> dict[str, nn.Module]:
    small = {"vocab_size": 320, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    return {
        "gpt2": GPT2LMHeadModel(GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=4, n_positions=64)).eval(),
        "phi (output bias)": PhiForCausalLM(PhiConfig(**small, intermediate_size=64)).eval(),
        "granite (scaled logits)": GraniteForCausalLM(
            GraniteConfig(**small, intermediate_size=64, num_key_value_heads=4, logits_scaling=4.0)
        ).eval(),
    }


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_logps_and_gradients_equal_the_brute_force_loop() -> None:
    model = tiny_model()
    fast = completion_logps(model, collate(ROWS, "cpu"))
    slow = [brute_force(model, row) for row in ROWS]
    torch.testing.assert_close(fast.tokens, torch.cat(slow), atol=1e-5, rtol=0)
    torch.testing.assert_close(fast.sums, torch.stack([s.sum() for s in slow]), atol=1e-5, rtol=1e-6)
    assert fast.lengths.tolist() == [len(row.completion_ids) for row in ROWS]
    coefficients = torch.linspace(-1, 2, len(ROWS))
    ours = gradients(model, (coefficients * fast.sums).sum())
    theirs = gradients(model, sum(c * brute_force(model, row).sum() for c, row in zip(coefficients, ROWS, strict=True)))
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=1e-4, msg=name)


@pytest.mark.parametrize("name", list(other_models()))
def test_every_kind_of_model_gives_its_own_logits(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """A model that changes its logits after the output layer takes the plain path, says so, and is right."""
    model = other_models()[name]
    with caplog.at_level(logging.WARNING):
        fast = completion_logps(model, collate(ROWS, "cpu")).tokens
    torch.testing.assert_close(fast, torch.cat([brute_force(model, row) for row in ROWS]), atol=1e-5, rtol=1e-5)
    plain = "scaled" in name
    assert uses_fast_path(model, collate(ROWS, "cpu")) is not plain
    assert ("slower path" in caplog.text) is plain


def test_left_padding_gives_the_same_numbers() -> None:
    """What we get right-padded is what a left-padded batch with its mask and positions gives."""
    model = tiny_model()
    width = max(len(row) for row in ROWS)
    ids = torch.zeros(len(ROWS), width, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(ROWS):
        ids[i, width - len(row) :] = torch.tensor([*row.prompt_ids, *row.completion_ids])
        mask[i, width - len(row) :] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    scores = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits.log_softmax(-1)
    left = [
        sum(scores[i, t - 1, ids[i, t]] for t in range(width - len(row.completion_ids), width))
        for i, row in enumerate(ROWS)
    ]
    torch.testing.assert_close(completion_logps(model, collate(ROWS, "cpu")).sums, torch.stack(left), atol=1e-5, rtol=0)


@pytest.mark.parametrize("pad", [0, 2, 17])
def test_padding_ids_never_matter_even_when_pad_is_eos(pad: int) -> None:
    model = tiny_model()
    rows = [Sequence([1, 2, 9], [2, 2, 5, 2]), Sequence([1], [7, 2])]  # EOS (2) inside the prompt and the completion
    batch = collate(rows, "cpu")
    padded = torch.where(batch.attention_mask == 0, pad, batch.input_ids)
    sums = completion_logps(model, replace(batch, input_ids=padded)).sums
    torch.testing.assert_close(sums, torch.stack([brute_force(model, row).sum() for row in rows]), atol=1e-5, rtol=0)


def test_a_certain_token_still_counts() -> None:
    """The mask is data: a token of probability 1 (log-probability 0) is one of the completion's tokens."""
    weight = torch.tensor([[40.0, 0.0], [0.0, 40.0]])
    tokens = head_logps(torch.tensor([[40.0, 0.0]]), weight, None, torch.tensor([0]))
    assert tokens.item() == 0.0
    assert completion_logps(tiny_model(), collate([Sequence([1], [5, 2])], "cpu")).lengths.tolist() == [2]


def test_shared_prompts_equal_separate_rows() -> None:
    model = tiny_model()
    apart, together = (
        completion_logps(model, collate(ROWS, "cpu")),
        completion_logps(model, collate_shared(ROWS, SHARED, "cpu")),
    )
    torch.testing.assert_close(together.sums, apart.sums, atol=1e-5, rtol=1e-6)
    assert together.lengths.tolist() == apart.lengths.tolist()
    coefficients = torch.linspace(-1, 2, len(ROWS))
    ours = gradients(model, (coefficients * together.sums).sum())
    theirs = gradients(model, (coefficients * apart.sums).sum())
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], atol=1e-4, rtol=1e-4, msg=name)


def test_head_gradient_equals_autograd() -> None:
    """The hand-written backward equals autograd's through log_softmax, with an output bias."""
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(shape, generator=generator, requires_grad=True) for shape in ((6, 4), (9, 4), (9,))
    )
    targets = torch.tensor([0, 8, 3, 3, 1, 5])

    def plain(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return (h @ w.T + b).log_softmax(-1).gather(1, targets[:, None]).squeeze(1)

    factors = torch.linspace(-1, 1, 6)
    ours = torch.autograd.grad((factors * head_logps(hidden, weight, bias, targets)).sum(), (hidden, weight, bias))
    theirs = torch.autograd.grad((factors * plain(hidden, weight, bias)).sum(), (hidden, weight, bias))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)


def random_heads(*shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("bias", [True, False])
def test_divergence_and_entropy_equal_autograd_over_whole_logits(bias: bool) -> None:
    """KL(reference || policy) and H over a vocabulary of 9; the reference has another width and gets no gradient."""
    hidden, weight, shift, other, other_weight = random_heads((6, 4), (9, 4), (9,), (6, 3), (9, 3))
    shift_or_none = shift if bias else None
    logps = (hidden @ weight.T + (shift if bias else 0)).log_softmax(-1)
    reference = (other @ other_weight.T).log_softmax(-1).detach()
    wanted = {
        "kl": (reference.exp() * (reference - logps)).sum(-1),
        "entropy": -(logps.exp() * logps).sum(-1),
    }
    policy = Predictions(hidden, weight, shift_or_none)
    found = {"kl": divergences(Predictions(other, other_weight, None), policy), "entropy": entropies(policy)}
    factors, leaves = torch.linspace(-1, 2, 6), (hidden, weight, shift) if bias else (hidden, weight)
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], atol=1e-6, rtol=1e-5)
        ours = torch.autograd.grad((factors * found[name]).sum(), leaves)
        theirs = torch.autograd.grad((factors * wanted[name]).sum(), leaves, retain_graph=True)
        for mine, other_gradient in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, other_gradient, atol=1e-6, rtol=1e-5)


def test_a_model_without_a_plain_output_layer_diverges_from_its_logits() -> None:
    """The slower path: hidden states are the logits themselves."""
    model, other = other_models()["granite (scaled logits)"], tiny_model(vocab=320)
    batch = collate(ROWS, "cpu")
    ours, theirs = predictions(model, batch), predictions(other, batch)
    assert (ours.weight, theirs.weight is not None) == (None, True)
    with torch.no_grad():
        logps = ours.hidden.log_softmax(-1)
        reference = (theirs.hidden @ theirs.weight.T).log_softmax(-1)
    found = divergences(theirs, ours)
    torch.testing.assert_close(found, (reference.exp() * (reference - logps)).sum(-1), atol=1e-5, rtol=1e-5)
    found.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_equal_models_diverge_by_exactly_nothing() -> None:
    batch = collate(ROWS, "cpu")
    found = predictions(tiny_model(), batch)
    assert (divergences(found, found) == 0).all()


@pytest.mark.parametrize("keep", [0, 1 << 26])
def test_chunks_and_recomputation_change_nothing(keep: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight = torch.randn(50, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True)
    targets, reference = torch.randint(0, 30, (50,)), Predictions(torch.randn(50, 4), torch.randn(30, 4), None)

    def both() -> tuple[Tensor, ...]:
        policy = Predictions(hidden, weight, None)
        tokens = head_logps(hidden, weight, None, targets) + entropies(policy) + divergences(reference, policy)
        return tokens, *torch.autograd.grad(tokens.square().sum(), (hidden, weight))

    whole = both()
    monkeypatch.setattr(head, "_KEEP", keep)
    monkeypatch.setattr(head, "_chunks", lambda h, v: [slice(i, min(i + 7, 50)) for i in range(0, 50, 7)])
    for one, other in zip(whole, both(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_the_output_layer_sees_completion_positions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch, seen = tiny_model(), collate(ROWS, "cpu"), []
    assert uses_fast_path(model, batch)
    real = head._logits
    monkeypatch.setattr(head, "_logits", lambda h, w, b: seen.append(len(h)) or real(h, w, b))
    completion_logps(model, batch)
    assert sum(seen) == sum(len(row.completion_ids) for row in ROWS)


def test_bf16_autocast_returns_fp32_near_the_fp32_values() -> None:
    model = tiny_model()
    exact = completion_logps(model, collate(ROWS, "cpu")).sums
    with torch.autocast("cpu", torch.bfloat16):
        half = completion_logps(model, collate(ROWS, "cpu")).sums
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, rtol=0.03, atol=0.3)
    assert not torch.equal(half, exact)


@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_sequence_logprobs_keep_the_order_for_any_budget(budget: int) -> None:
    model = tiny_model()
    found = sequence_logprobs(model, ROWS, device="cpu", precision="fp32", micro_batch_tokens=budget)
    for row, tokens in zip(ROWS, found, strict=True):
        torch.testing.assert_close(torch.tensor(tokens), brute_force(model, row), atol=1e-5, rtol=0)

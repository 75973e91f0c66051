"""Rows that share their prompt: the same function as separate rows, for every kind of attention that can be cut."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from components.sequences import Sequence
from components.training.batching import Batch, collate, collate_shared
from components.training.engine import prepare_mode
from components.training.logprobs import completion_logps
from components.training.shared_attention import attention_arguments, cut, release

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "initializer_range": 0.4,
    "max_position_embeddings": 128,
}
WINDOWED = {"sliding_window": 7}
MIXED = {**WINDOWED, "layer_types": ["sliding_attention", "full_attention"]}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "grouped heads": ("llama", {}),
    "every head its own": ("llama", {"num_key_value_heads": 4}),
    "a window": ("mistral", WINDOWED),
    "windows in some layers": ("qwen2", {**MIXED, "use_sliding_window": True}),
    "windows and two rotations": ("gemma3_text", MIXED),
    "a soft cap": ("gemma2", {**MIXED, "attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8}),
    "sinks": ("gpt_oss", {**MIXED, "num_local_experts": 2, "num_experts_per_tok": 1}),
    "learned positions": ("gpt2", {}),
    "parallel blocks": ("gpt_neox", {}),
}
PROMPTS = [list(range(3, 15)), [3, 4, 5], list(range(20, 49))]
COMPLETIONS = [[[7] * 9, [8, 9], [10] * 14], [[11, 12], [13] * 20], [[14] * 5]]
ROWS = [Sequence(prompt, [*ids, 2]) for prompt, those in zip(PROMPTS, COMPLETIONS, strict=True) for ids in those]
ROW_OF = [0, 0, 0, 1, 1, 2]
"""Three prompts with three, two and one completions: shorter and longer than a window, the longest in any place."""


def made(kind: str) -> Any:
    name, settings = KINDS[kind]
    torch.manual_seed(0)
    config = AutoConfig.for_model(name, **{**SIZES, **settings})
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {name: grad for name, grad in zip(names, found, strict=True) if grad is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_shared_rows_are_separate_rows(kind: str) -> None:
    model = made(kind)
    apart = completion_logps(model, collate(ROWS, "cpu"))
    separately = gradients(model, (torch.linspace(-1, 2, len(ROWS)) * apart.sums).sum())
    together = completion_logps(model, collate_shared(ROWS, ROW_OF, "cpu"))
    torch.testing.assert_close(together.tokens, apart.tokens, atol=1e-5, rtol=1e-5)
    shared = gradients(model, (torch.linspace(-1, 2, len(ROWS)) * together.sums).sum())
    assert shared.keys() == separately.keys()
    for name, gradient in separately.items():
        torch.testing.assert_close(shared[name], gradient, atol=2e-4, rtol=1e-3, msg=name)


def test_masks_by_hand() -> None:
    """A prompt of 3, completions of 1 and 2 tokens in a row of 7, and a row whose one later completion is shorter."""
    cuts = cut([3, 2], [1, 3], [(0, 4, 6), (1, 5, 6)], 7, "cpu")
    assert cuts.first == 5
    seen = [(cuts.later_mask(window, torch.float32) == 0).int()[:, 0].tolist() for window in (None, 3)]
    assert seen[0] == [[[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]], [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]]  # the last one: padding
    assert seen[1] == [[[0, 1, 1, 1, 0], [0, 0, 1, 1, 1]], [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]]
    assert (cuts.first_mask(2, torch.float32) == 0).int()[0, 0].tolist()[2:4] == [[0, 1, 1, 0, 0], [0, 0, 1, 1, 0]]
    assert cuts.back.tolist() == [0, 1, 2, 3, 10, 11, 0, 5, 6, 7, 8, 9, 12, 0]


def test_a_model_that_shares_computes_other_rows_as_before_and_is_saved_as_before() -> None:
    model = made("a window")
    before, config = completion_logps(model, collate(ROWS, "cpu")).tokens, model.config.to_json_string()
    shared = collate_shared(ROWS, ROW_OF, "cpu")
    completion_logps(model, shared)
    assert model.config.to_json_string() == config
    assert torch.equal(completion_logps(model, collate(ROWS, "cpu")).tokens, before)
    assert model.config._attn_implementation != "sdpa"
    release(model)
    assert model.config._attn_implementation == "sdpa"
    assert torch.equal(completion_logps(model, collate(ROWS, "cpu")).tokens, before)


def test_a_model_with_an_attention_of_its_own_is_refused() -> None:
    config = AutoConfig.for_model("bloom", vocab_size=64, hidden_size=32, n_layer=1, n_head=4)
    model = AutoModelForCausalLM.from_config(config).eval()
    with pytest.raises((ValueError, TypeError)):
        completion_logps(model, collate_shared(ROWS, ROW_OF, "cpu"))


def test_gradient_checkpoints_compute_the_cuts_again() -> None:
    batch: Batch = collate_shared(ROWS, ROW_OF, "cpu")
    plain, saving = made("grouped heads"), made("grouped heads")
    prepare_mode(saving, gradient_checkpointing=True)
    wanted, found = (gradients(model, completion_logps(model, batch).sums.sum()) for model in (plain, saving))
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-5, msg=name)


def test_separate_rows_need_no_arguments() -> None:
    assert attention_arguments(made("grouped heads"), collate(ROWS, "cpu")) == {}

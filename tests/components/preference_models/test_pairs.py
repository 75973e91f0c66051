"""Pairs in one forward pass: the fast path equals the plain one, and a model that cannot take it is found out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from components.contract import Choice
from components.preference_models import pairs as module
from components.preference_models.network import new_network
from components.preference_models.pairs import pair_readings, read_pairs
from components.preference_models.readings import read_rows
from components.sequences import Example, Sequence
from components.training.params import Compute
from tests.tiny import save_tiny_policy, tiny_tokenizer

SCALAR = Choice("scalar")
EOS = tiny_tokenizer().eos_token_id


def pair(prompt: list[int], chosen: list[int], rejected: list[int]) -> Example:
    return Example((Sequence(prompt, chosen, "chosen"), Sequence(prompt, rejected, "rejected")))


LONG_PROMPTS = [
    pair(list(range(30, 60)), [61, 62, EOS], [EOS]),
    pair(list(range(40, 62)), [63, EOS], [64, 65, 66, EOS]),
]
LONG_COMPLETIONS = [
    pair([1, 30], [*range(40, 60), EOS], [*range(70, 92), EOS]),
    pair([1], [*range(35, 57), EOS], [*range(50, 71), EOS]),
]


@pytest.fixture
def model(tmp_path: Path) -> Any:
    return new_network(save_tiny_policy(tmp_path / "policy"), SCALAR, Compute(threads=1), seed=0)[0]


def loss(model: Any, pairs: list[Example]) -> torch.Tensor:
    chosen, rejected = pair_readings(model, SCALAR, pairs, "cpu")
    return -torch.nn.functional.logsigmoid(chosen - rejected).mean()


def test_prompts_are_shared_only_where_that_saves_work() -> None:
    assert module._saves_work(LONG_PROMPTS)
    assert not module._saves_work(LONG_COMPLETIONS)


def test_shared_prompts_give_the_plain_loss_and_gradient(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = loss(model, LONG_PROMPTS)
    fast_gradients = torch.autograd.grad(fast, list(model.parameters()))
    assert module._shares[model]
    monkeypatch.setattr(module, "_saves_work", lambda pairs: False)
    plain = loss(model, LONG_PROMPTS)
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=0)
    for ours, theirs in zip(fast_gradients, torch.autograd.grad(plain, list(model.parameters())), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pairs", [LONG_PROMPTS, LONG_COMPLETIONS])
def test_pairs_score_as_their_completions_do_alone(model: Any, pairs: list[Example]) -> None:
    settings: dict[str, Any] = {"device": "cpu", "precision": "fp32", "micro_batch_tokens": 64}
    chosen, rejected = read_pairs(model, SCALAR, pairs, **settings)
    assert chosen == pytest.approx(read_rows(model, SCALAR, [p.sequences[0] for p in pairs], **settings), abs=1e-5)
    assert rejected == pytest.approx(read_rows(model, SCALAR, [p.sequences[1] for p in pairs], **settings), abs=1e-5)


def test_the_order_of_pairs_is_kept(model: Any) -> None:
    pairs = LONG_COMPLETIONS + LONG_PROMPTS
    settings: dict[str, Any] = {"device": "cpu", "precision": "fp32", "micro_batch_tokens": 100}
    there, back = read_pairs(model, SCALAR, pairs, **settings)[0], read_pairs(model, SCALAR, pairs[::-1], **settings)[0]
    assert there == pytest.approx(back[::-1], abs=1e-5)


def test_a_model_that_ignores_the_mask_is_found_out(
    model: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Then every prompt is computed twice, with a warning: the numbers stay those of the plain path."""
    plain = read_pairs(model, SCALAR, LONG_PROMPTS, device="cpu", precision="fp32", micro_batch_tokens=1)
    backbone = model.base_model.forward

    def deaf(**arguments: Any) -> Any:
        arguments.pop("attention_mask", None)
        return backbone(**arguments)

    monkeypatch.setattr(model.base_model, "forward", deaf)
    module._shares.pop(model)
    with caplog.at_level(logging.WARNING):
        found = read_pairs(model, SCALAR, LONG_PROMPTS, device="cpu", precision="fp32", micro_batch_tokens=4096)
    assert "does not take shared prompts" in caplog.text
    assert found[0] == pytest.approx(plain[0], abs=1e-5)
    assert found[1] == pytest.approx(plain[1], abs=1e-5)

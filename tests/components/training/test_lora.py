"""Adapters start as the zero function, train alone, and merge into a model that reloads equal."""

from __future__ import annotations

from pathlib import Path

import torch

from components.sequences import Sequence
from components.training.batching import collate
from components.training.logprobs import completion_logps, uses_fast_path
from components.training.lora import add_adapters, merge_adapters
from components.training.params import Compute, Lora
from components.training.runtime import load_policy, save_policy
from tests.components.training.helpers import fit, pair_task, pairs, weights
from tests.tiny import tiny_model, tiny_tokenizer

PAIRS = pairs(16)
BATCH = collate([Sequence(prompt, chosen) for prompt, chosen, _ in PAIRS], "cpu")
LORA = Lora(rank=4, alpha=8.0)


def sums(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return completion_logps(model, BATCH).sums


def test_the_adapted_model_equals_the_base_at_step_zero_and_uses_the_fast_path() -> None:
    base = sums(tiny_model())
    adapted = add_adapters(tiny_model(), LORA, seed=0)
    assert torch.equal(sums(adapted), base)
    assert uses_fast_path(adapted, BATCH)


def test_only_adapters_train_and_the_base_stays_the_reference(tmp_path: Path) -> None:
    base = sums(tiny_model())
    adapted = add_adapters(tiny_model(), LORA, seed=0)
    before = weights(adapted)
    trained = fit(adapted, pair_task(PAIRS), tmp_path, epochs=20, learning_rate=5e-3)
    changed = {name for name, value in weights(adapted).items() if not torch.equal(value, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)
    assert trained.log[-1]["loss"] < trained.log[0]["loss"]
    with adapted.disable_adapter():
        assert torch.equal(sums(adapted), base)
    assert not torch.allclose(sums(adapted), base, atol=0.1)


def test_the_merged_model_reloads_equal(tmp_path: Path) -> None:
    adapted = add_adapters(tiny_model(), LORA, seed=0)
    fit(adapted, pair_task(PAIRS), tmp_path / "work", epochs=5, learning_rate=5e-3)
    trained = sums(adapted)
    merged = merge_adapters(adapted)
    torch.testing.assert_close(sums(merged), trained, atol=1e-4, rtol=1e-5)
    save_policy(merged, tiny_tokenizer(), tmp_path / "policy")
    reloaded, _ = load_policy(tmp_path / "policy", Compute())
    assert torch.equal(sums(reloaded), sums(merged))
    assert not any("lora" in name for name in reloaded.state_dict())


def test_rank_zero_is_full_fine_tuning_and_the_seed_decides_the_adapters() -> None:
    model = tiny_model()
    assert add_adapters(model, Lora(), seed=0) is model
    one, same, other = (weights(add_adapters(tiny_model(), LORA, seed=seed)) for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)

"""The engine without the offline loop: streams with their own denominators, several parts, state that survives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from components.errors import ParamsError
from components.sequences import Sequence
from components.training.batching import collate
from components.training.checkpoint import Progress
from components.training.engine import Engine, Part, Stream
from components.training.logprobs import by_token, predictions, token_logps
from components.training.params import Compute, Optimization
from tests.components.training.helpers import pairs, weights
from tests.tiny import tiny_model

CPU = Compute(threads=1)
PLAIN = Optimization(learning_rate=1e-3, warmup=0.0, schedule="constant", max_grad_norm=0.0)
ROWS = [Sequence(prompt, completion) for prompt, completion, _ in pairs(6)]
TOKENS = sum(len(row.completion_ids) for row in ROWS)


def tokens(model: nn.Module, rows: list[Sequence]) -> dict[str, Tensor]:
    batch = collate(rows, "cpu")
    return {"lp": by_token(token_logps(predictions(model, batch), batch), batch)}


def gradient(part: Part) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in part.module.named_parameters() if p.grad is not None}


def accumulated(split: int, streams: Any) -> dict[str, Tensor]:
    part = Part(tiny_model(), PLAIN, CPU)
    part.zero()
    for start in range(0, len(ROWS), split):
        rows = ROWS[start : start + split]
        found = part.forward(lambda model, rows=rows: tokens(model, rows))
        part.backward(streams(found["lp"], start, rows))
    return gradient(part)


@pytest.mark.parametrize("split", [1, 2, 4])
def test_a_stream_of_tokens_is_one_mean_over_the_global_batch_however_it_is_split(split: int) -> None:
    """Token mean over all (A1) beside a sequence mean (A2), each with its own denominator."""

    def streams(lp: Tensor, start: int, rows: list[Sequence]) -> list[Stream]:
        return [Stream(-lp, TOKENS), Stream(lp.sum(1).square(), len(ROWS))]

    whole, parts = accumulated(len(ROWS), streams), accumulated(split, streams)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, atol=1e-4, rtol=1e-4, msg=name)


def test_weights_of_a_stream_belong_to_tokens_or_to_sequences() -> None:
    def by_sequence(lp: Tensor, start: int, rows: list[Sequence]) -> list[Stream]:
        return [Stream(-lp, TOKENS, torch.arange(start, start + len(rows), dtype=torch.float64)[:, None])]

    def by_hand(lp: Tensor, start: int, rows: list[Sequence]) -> list[Stream]:
        return [Stream(-lp * torch.arange(start, start + len(rows))[:, None], TOKENS)]

    for name, value in accumulated(3, by_sequence).items():
        torch.testing.assert_close(value, accumulated(3, by_hand)[name], atol=1e-5, rtol=1e-5, msg=name)


def test_a_count_of_nothing_contributes_nothing() -> None:
    found = accumulated(6, lambda lp, start, rows: [Stream(-lp, 0)])
    assert all((value == 0).all() for value in found.values())


def actor_critic(identity: str = "test") -> tuple[Engine, dict[str, Part]]:
    """A policy and a critic with rates of their own, a number trained beside the policy, and a tensor beside both."""
    parts = {
        "policy": Part(tiny_model(seed=0), PLAIN, CPU, {"temperature": 1.0}),
        "critic": Part(tiny_model(seed=1), PLAIN, CPU),
    }
    return Engine(parts, CPU, identity, {"average": torch.zeros(3)}), parts


def one_step(engine: Engine, parts: dict[str, Part], progress: Progress) -> None:
    """What an online driver does: examples made as it goes, one loss per part, controllers in the state."""
    rows = ROWS[progress.step % 3 :]
    value = parts["critic"].forward(lambda model: tokens(model, rows))["lp"].sum(1)
    found = parts["policy"].forward(lambda model: tokens(model, rows))
    advantage = -value.detach()
    parts["policy"].backward([Stream(-advantage[:, None] * found["lp"] * found["temperature"], TOKENS)])
    parts["critic"].backward([Stream((value + 1).square(), len(rows))])
    for part, rate in zip(parts.values(), (1e-3, 5e-3), strict=True):
        part.step(rate, f"step {progress.step}")
    engine.tensors["average"].add_(1.0)
    progress.step += 1
    progress.state = {"kl": {"coefficient": 0.1 * progress.step}}


def test_parts_train_and_resume_together(tmp_path: Path) -> None:
    engine, parts = actor_critic()
    start = {name: weights(part.module) for name, part in parts.items()}
    progress = engine.restore(tmp_path)
    for _ in range(2):
        one_step(engine, parts, progress)
    engine.save(tmp_path, progress)
    one_step(engine, parts, progress)
    for name, part in parts.items():
        assert any(not torch.equal(value, start[name][key]) for key, value in weights(part.module).items())
    again, others = actor_critic()
    resumed = again.restore(tmp_path)
    assert (resumed.step, resumed.state) == (2, {"kl": {"coefficient": 0.2}})
    one_step(again, others, resumed)
    assert torch.equal(again.tensors["average"], torch.full((3,), 3.0))
    assert others["policy"].numbers() == parts["policy"].numbers() != {"temperature": 1.0}
    for name, part in parts.items():
        for key, value in weights(part.module).items():
            assert torch.equal(weights(others[name].module)[key], value), key


NOISE: dict[str, dict[str, Any]] = {
    "opt": {"dropout": 0.3, "layerdrop": 0.3, "word_embed_proj_dim": 16, "ffn_dim": 32},  # numbers in the layers
    "falcon": {"hidden_dropout": 0.3, "attention_dropout": 0.3},  # read from the config
    "gptj": {"resid_pdrop": 0.3, "attn_pdrop": 0.3, "embd_pdrop": 0.3, "rotary_dim": 4},
    "mixtral": {"router_jitter_noise": 0.2, "num_local_experts": 4, "num_key_value_heads": 2},
}


@pytest.mark.parametrize("kind", NOISE)
def test_train_mode_draws_nothing_whatever_a_model_calls_its_noise(kind: str) -> None:
    """What is computed is what eval mode computes, and the config that is saved is the model's own."""
    size = {"vocab_size": 320, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config: Any = AutoConfig.for_model(kind, **size, **NOISE[kind])
    model = AutoModelForCausalLM.from_config(config).float().eval()
    own = model.config.to_dict()
    before = model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits
    part = Part(model, replace(PLAIN, gradient_checkpointing=True), CPU)
    assert model.training
    for _ in range(2):
        torch.testing.assert_close(model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits, before)
    part.close()
    assert not model.training
    assert model.config.to_dict() == own


def test_a_model_that_cannot_checkpoint_gradients_is_one_line() -> None:
    size = {"vocab_size": 32, "n_embd": 16, "n_layer": 1, "n_head": 2, "dff": 16, "n_positions": 32}
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model("ctrl", **size))
    with pytest.raises(ParamsError, match=r"^optimization.gradient_checkpointing: this model cannot do it"):
        Part(model, replace(PLAIN, gradient_checkpointing=True), CPU)

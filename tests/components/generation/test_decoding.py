"""A cache is used where a model keeps its numbers with it, at the length that is sampled."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from components.generation import decoding
from components.generation.decoding import Cached, Recomputed, begin
from components.generation.params import Sampler
from components.generation.sample import sample
from tests.tiny import tiny_model, tiny_tokenizer

PROMPTS = [[1, 30, 31, 32, 33], [1, 40]]


def test_both_ways_grow_and_leave_alike() -> None:
    model = tiny_model()
    with torch.no_grad():
        one, two = Cached(model, PROMPTS, 2, "cpu"), Recomputed(model, PROMPTS, 2, "cpu")
        for rows in (torch.arange(4), torch.tensor([1, 2]), torch.tensor([1])):
            one.keep(rows)
            two.keep(rows)
            torch.testing.assert_close(one.logits, two.logits, atol=1e-5, rtol=0)
            one.step(one.logits.argmax(-1))
            two.step(two.logits.argmax(-1))
        torch.testing.assert_close(one.logits, two.logits, atol=1e-5, rtol=0)


def test_the_way_changes_no_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    model, options = tiny_model(), {"samples_per_prompt": 2, "keys": ["a", "b"], "device": "cpu"}
    fast = sample(model, tiny_tokenizer(), PROMPTS, Sampler(max_new_tokens=12), **options)
    monkeypatch.setattr(decoding, "_is_the_same", lambda *given: False)
    slow = sample(tiny_model(), tiny_tokenizer(), PROMPTS, Sampler(max_new_tokens=12), **options)
    assert [one.token_ids for one in fast] == [one.token_ids for one in slow]


def test_a_model_whose_cache_says_something_else_is_computed_anew(caplog: pytest.LogCaptureFixture) -> None:
    """Also where it shows only beyond a window of 16 tokens, which the prompt alone does not reach."""
    model = tiny_model()
    real = model.forward

    def forgetful(**given: Any) -> Any:
        cache, positions = given.get("past_key_values"), given.get("position_ids")
        if cache is not None and positions is not None and int(positions.max()) >= 16:
            given["position_ids"] = positions * 0
        return real(**given)

    model.forward = forgetful
    assert isinstance(begin(model, PROMPTS, 1, "cpu", longest=12), Cached)
    assert isinstance(begin(model, PROMPTS, 1, "cpu", longest=40), Recomputed)
    assert "says something else with a cache" in caplog.text
    assert isinstance(begin(model, PROMPTS, 1, "cpu", longest=12), Recomputed)  # once told, not asked again


def test_a_model_without_a_usual_cache_is_computed_anew(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    real = model.forward

    def without(**given: Any) -> Any:
        if given.get("past_key_values") is not None:
            raise AttributeError("no attribute 'batch_repeat_interleave'")
        return real(**given)

    model.forward = without
    assert isinstance(begin(model, PROMPTS, 2, "cpu", longest=12), Recomputed)
    assert "no cache for LlamaForCausalLM" in caplog.text

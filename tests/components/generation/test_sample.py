"""The sampler: right tokens, right log-probabilities, independent of batch mates."""

import dataclasses
import json
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from components.contract.params import build
from components.errors import ArtifactError, ParamsError, RecordError
from components.generation.params import Sampler
from components.generation.sample import Generation, pick_tokens, row_seed, sample
from tests.tiny import tiny_model, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
EOS = TOKENIZER.eos_token_id


@pytest.fixture(scope="module")
def model() -> Any:
    """A tiny model that ends its answers now and then (its EOS logit is raised)."""
    model = tiny_model(seed=1, tie_word_embeddings=False)
    with torch.no_grad():
        model.lm_head.weight[EOS] *= 2.0
    return model


def prompts(count: int = 9) -> list[list[int]]:
    """Prompts of different lengths."""
    words = TOKENIZER("please write a short answer about the colour of a dog and a fox.")["input_ids"]
    return [[*words[: 3 + (5 * i) % 11], 10 + i] for i in range(count)]


def run(
    model: Any, ids: list[list[int]], sampler: Sampler, k: int = 1, keys: list[str] | None = None
) -> list[Generation]:
    keys = keys or [f"prompt {i}" for i in range(len(ids))]
    return sample(model, TOKENIZER, ids, sampler, samples_per_prompt=k, keys=keys, device="cpu")


def test_greedy_equals_transformers_generate(model: Any) -> None:
    """Temperature 0 gives the tokens of `generate(do_sample=False)` for every prompt by itself."""
    ours = run(model, prompts(), Sampler(temperature=0, max_new_tokens=20))
    assert {generation.finish for generation in ours} == {"eos", "length"}
    for ids, generation in zip(prompts(), ours, strict=True):
        expected = model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids)), do_sample=False, max_new_tokens=20
        )
        assert generation.token_ids == expected[0, len(ids) :].tolist()


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_a_sample_does_not_depend_on_its_batch(model: Any, batch_size: int) -> None:
    """Same key and seed, other batch size, other order, other batch mates: the same tokens, log-probs within 1e-5."""
    sampler = Sampler(max_new_tokens=20, seed=7)
    reference = run(model, prompts(), sampler, k=3)
    keys = [f"prompt {i}" for i in reversed(range(9))][:5]
    other = run(model, prompts()[::-1][:5], dataclasses.replace(sampler, batch_size=batch_size), k=3, keys=keys)
    for i in range(5):
        for k in range(3):
            one, two = reference[(8 - i) * 3 + k], other[i * 3 + k]
            assert (one.token_ids, one.seed, one.text) == (two.token_ids, two.seed, two.text)
            assert one.logprobs == pytest.approx(two.logprobs, abs=1e-5)


def test_fewer_samples_are_the_first_samples(model: Any) -> None:
    """Sample k of a prompt is the same whether 2 or 4 samples are drawn; samples differ from each other."""
    two, four = (run(model, prompts(3), Sampler(max_new_tokens=12), k=k) for k in (2, 4))
    for i in range(3):
        assert [g.token_ids for g in two[2 * i : 2 * i + 2]] == [g.token_ids for g in four[4 * i : 4 * i + 2]]
    assert len({tuple(g.token_ids) for g in four[:4]}) > 1


def test_seed_and_key_change_the_sample(model: Any) -> None:
    base, seeded = (run(model, prompts(3), Sampler(max_new_tokens=12, seed=seed)) for seed in (0, 1))
    keyed = run(model, prompts(3), Sampler(max_new_tokens=12), keys=["x", "y", "z"])
    assert [g.token_ids for g in base] != [g.token_ids for g in seeded]
    assert [g.token_ids for g in base] != [g.token_ids for g in keyed]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0, 1.5])
def test_logprobs_equal_a_teacher_forced_forward(model: Any, temperature: float) -> None:
    """The log-probs are those of softmax(logits / temperature) of one plain forward pass, within 1e-4 per token."""
    ids = prompts()
    for prompt, found in zip(ids, run(model, ids, Sampler(temperature, max_new_tokens=15)), strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([prompt + found.token_ids])).logits[0, len(prompt) - 1 : -1]
        logps = (logits.double() / (temperature or 1.0)).log_softmax(-1)
        expected = logps[torch.arange(len(found.token_ids)), torch.tensor(found.token_ids)]
        assert found.logprobs == pytest.approx(expected.tolist(), abs=1e-4)


def test_sampled_frequencies_match_the_softmax(model: Any) -> None:
    """First tokens of 4,000 samples: total variation to softmax(logits / T) is small, and larger for another T."""
    ids = prompts(1)
    found = run(model, ids, Sampler(temperature=0.8, max_new_tokens=1, batch_size=4000), k=4000)
    counts = torch.bincount(torch.tensor([g.token_ids[0] for g in found]), minlength=model.config.vocab_size)
    with torch.no_grad():
        logits = model(torch.tensor(ids)).logits[0, -1]
    distance = [float((counts / 4000 - (logits / t).softmax(-1)).abs().sum() / 2) for t in (0.8, 1.6)]
    # expected distance by chance: sum over tokens of sqrt(p (1 - p) / (2 pi n)), plus a wide margin
    p = (logits / 0.8).softmax(-1)
    chance = float((p * (1 - p) / (2 * math.pi * 4000)).sqrt().sum())
    assert distance[0] < 1.5 * chance < distance[1]


def test_inverse_cumulative_distribution_by_hand() -> None:
    """p = (0.2, 0.5, 0.3): u = 0.19 -> 0, 0.2 -> 1, 0.69 -> 1, 0.71 -> 2, and the largest u below 1 -> 2."""
    logits = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64).log().repeat(5, 1)
    uniform = torch.tensor([0.19, 0.2 + 1e-12, 0.69, 0.71, 1 - 2**-53], dtype=torch.float64)
    tokens, logps = pick_tokens(logits, uniform, Sampler())
    assert tokens.tolist() == [0, 1, 1, 2, 2]
    assert logps.exp().tolist() == pytest.approx([0.2, 0.5, 0.5, 0.3, 0.3])


def test_top_p_keeps_the_smallest_set_that_holds_it() -> None:
    """p = (0.2, 0.5, 0.3): top_p 0.5 keeps token 1 alone, 0.51 keeps 1 and 2; log-probs stay those before the cut."""
    logits = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64).log().repeat(100, 1)
    uniform = torch.linspace(0, 1 - 2**-53, 100, dtype=torch.float64)
    for top_p, kept in ((0.5, {1}), (0.51, {1, 2}), (0.81, {0, 1, 2}), (1e-9, {1})):
        tokens, logps = pick_tokens(logits, uniform, Sampler(top_p=top_p))
        assert set(tokens.tolist()) == kept
        assert logps.exp().tolist() == pytest.approx([[0.2, 0.5, 0.3][token] for token in tokens])


def test_a_token_without_probability_is_never_picked() -> None:
    """u = 0 and u next to 1 pick tokens with probability, even when the first and last tokens have none."""
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]]).repeat(2, 1)
    tokens, _ = pick_tokens(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64), Sampler())
    assert tokens.tolist() == [1, 2]


def test_ends_at_eos_or_at_the_limit(model: Any) -> None:
    """An EOS is the last token and only there; without one the completion has max_new_tokens tokens and says so."""
    found = run(model, prompts(), Sampler(max_new_tokens=8), k=8)
    assert {g.finish for g in found} == {"eos", "length"}
    for generation in found:
        assert EOS not in generation.token_ids[:-1]
        assert (generation.token_ids[-1] == EOS) == (generation.finish == "eos")
        assert len(generation.logprobs) == len(generation.token_ids) <= 8
        assert generation.finish == "eos" or len(generation.token_ids) == 8
        assert "<eos>" not in generation.text


def test_every_stop_token_of_the_generation_config_ends_a_completion(model: Any) -> None:
    """A model whose generation config lists two EOS tokens stops at either."""
    greedy = Sampler(temperature=0, max_new_tokens=10)
    plain = next(g for g in run(model, prompts(), greedy) if len(g.token_ids) > 3)
    stopper = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=[EOS, plain.token_ids[2]]))
    proxy = _Proxy(model, stopper.generation_config)
    cut = [g for g in run(proxy, prompts(), greedy) if g.token_ids[:3] == plain.token_ids[:3]]
    assert cut
    assert all(g.token_ids == plain.token_ids[:3] or plain.token_ids[2] in g.token_ids[:2] for g in cut)
    assert cut[0].finish == "eos"


class _Proxy:
    """The model with another generation config."""

    def __init__(self, model: Any, generation_config: Any) -> None:
        self._model, self.generation_config, self.config = model, generation_config, model.config

    def __call__(self, **arguments: Any) -> Any:
        return self._model(**arguments)


def test_pad_equal_to_eos_changes_nothing(model: Any) -> None:
    """Padding is told from text by position, never by id."""
    shared = tiny_tokenizer(pad_is_eos=True)
    ids = [[EOS, *prompt] for prompt in prompts()]  # an EOS inside the prompt is no padding either
    keys = [str(i) for i in range(len(ids))]
    one, two = (sample(model, t, ids, Sampler(max_new_tokens=10), keys=keys, device="cpu") for t in (TOKENIZER, shared))
    assert one == two


def test_generations_are_json_and_seeds_are_portable(model: Any) -> None:
    """A generation survives JSON unchanged; its seed is below 2**53."""
    found = run(model, prompts(2), Sampler(max_new_tokens=4))
    assert [Generation(**json.loads(json.dumps(dataclasses.asdict(g)))) for g in found] == found
    assert all(g.seed == row_seed(0, f"prompt {i}", 0) < 2**53 for i, g in enumerate(found))


def test_an_empty_prompt_is_an_error(model: Any) -> None:
    with pytest.raises(RecordError, match="no tokens"):
        run(model, [[1, 2], []], Sampler())


@pytest.mark.parametrize(
    "bad", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_p": 1.1}, {"max_new_tokens": 0}, {"batch_size": 0}]
)
def test_impossible_samplers_are_errors(bad: dict[str, float]) -> None:
    with pytest.raises(ParamsError, match=next(iter(bad))):
        build(Sampler, bad, "params.sampler")


def test_answers_that_would_outgrow_the_model_are_refused_before_they_are_sampled(model: Any) -> None:
    """512 positions: a prompt of 13 tokens and 500 new ones do not fit."""
    ids = [list(range(10, 23))]
    with pytest.raises(ArtifactError, match=r"^sample: the model has fewer positions .*\(got 513 > 512\)"):
        run(model, ids, Sampler(max_new_tokens=500))

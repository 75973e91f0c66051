"""Any number of sequences per example, in any layout and any split: the numbers of each sequence scored alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from components.objectives import parse
from components.sequences import Example, Sequence
from components.training.batching import Batch
from components.training.logprobs import completion_logps
from components.training.references import Live
from components.training.scorer import Scorer, language_model, layout, share_prompts
from tests.components.training.helpers import pairs
from tests.tiny import tiny_model

CPU = torch.device("cpu")
APART = Scorer(shared=False, device=CPU, precision="fp32", budget=200)
TOGETHER = replace(APART, shared=True)
GIVEN = {"preference_probability": 1.0, "margin": 0.0}
PAIRS = [
    Example((Sequence(p, w, "chosen"), Sequence(p, r, "rejected")), GIVEN, 1.0, str(i))
    for i, (p, w, r) in enumerate(pairs(9, longest=20))
]


def listed(prompt: list[int], *completions: list[int]) -> Example:
    return Example(
        tuple(Sequence(prompt, ids, "listed", given={"tiers": float(k)}) for k, ids in enumerate(completions))
    )


LISTS = [listed([7, 8, 9], [10, 2], [11, 12, 2], [13, 2]), listed([20], [21, 22, 23, 2], [24, 2])]


def token_values(model: nn.Module, batch: Batch) -> Tensor:
    return completion_logps(model, batch).tokens


def alone(model: nn.Module, sequence: Sequence) -> float:
    """Token by token, without any of this."""
    ids = torch.tensor([[*sequence.prompt_ids, *sequence.completion_ids]])
    with torch.no_grad():
        scores = model(input_ids=ids).logits[0].log_softmax(-1)
    first = len(sequence.prompt_ids)
    return sum(float(scores[first + t - 1, sequence.completion_ids[t]]) for t in sequence.counted)


@pytest.mark.parametrize("scorer", [APART, TOGETHER, replace(APART, budget=1), replace(TOGETHER, budget=1)])
@pytest.mark.parametrize("examples", [PAIRS, LISTS, [*LISTS, *PAIRS]])
def test_layouts_and_budgets_give_the_numbers_of_each_sequence_alone(scorer: Scorer, examples: list[Example]) -> None:
    model = tiny_model()
    found = scorer.by_sequence(model, examples, "logps")
    for i, example in enumerate(examples):
        wanted = [alone(model, sequence) for sequence in example.sequences]
        assert found[: len(wanted), i].tolist() == pytest.approx(wanted, abs=2e-5)
        assert (found[len(wanted) :, i] == 0).all()


def test_quantities_of_pairs_have_one_value_per_example_and_carry_what_was_given() -> None:
    names = ["chosen_logps", "rejected_logps", "rejected_lengths", "preference_probability", "margin"]
    found = TOGETHER.quantities(tiny_model(), PAIRS[:3], [parse(name, "pair") for name in names])
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == dict.fromkeys(names, (3,))
    assert found["rejected_lengths"].tolist() == [len(e.sequences[1].completion_ids) for e in PAIRS[:3]]


@pytest.mark.parametrize("scorer", [APART, TOGETHER])
def test_quantities_of_lists_are_ragged_with_a_mask(scorer: Scorer) -> None:
    model = tiny_model()
    names = ["listed_logps", "listed_lengths", "listed_tiers", "listed_mask", "listed_token_logps", "listed_token_mask"]
    found = scorer.quantities(model, LISTS, [parse(name, "list") for name in names])
    assert found["listed_mask"].tolist() == [[True, True, True], [True, True, False]]
    assert found["listed_lengths"].tolist() == [[2, 3, 2], [4, 2, 0]]
    assert found["listed_tiers"].tolist() == [[0, 1, 2], [0, 1, 0]]
    assert found["listed_token_logps"].shape == (2, 3, 4)
    assert found["listed_token_mask"].sum(-1).tolist() == [[2, 3, 2], [4, 2, 0]]
    torch.testing.assert_close(found["listed_token_logps"].sum(-1), found["listed_logps"], atol=1e-5, rtol=1e-6)
    wanted = [[alone(model, s) for s in e.sequences] for e in LISTS]
    assert found["listed_logps"][0].tolist() == pytest.approx(wanted[0], abs=2e-5)
    assert found["listed_logps"][1, :2].tolist() == pytest.approx(wanted[1], abs=2e-5)
    found["listed_logps"].sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_token_quantities_sum_to_what_is_summed() -> None:
    names = ["chosen_token_logps", "chosen_token_mask", "chosen_logps", "chosen_lengths"]
    found = APART.quantities(tiny_model(), PAIRS[:4], [parse(name, "pair") for name in names])
    torch.testing.assert_close(found["chosen_token_logps"].sum(1), found["chosen_logps"])
    assert found["chosen_token_mask"].sum(1).tolist() == found["chosen_lengths"].tolist()
    assert (found["chosen_token_logps"][~found["chosen_token_mask"]] == 0).all()


def test_loss_spans_choose_what_is_summed() -> None:
    model = tiny_model()
    whole = Sequence([7, 8], [9, 10, 11, 2], "completion")
    part = replace(whole, spans=((0, 1), (2, 4)))
    found = APART.by_sequence(model, [Example((whole,)), Example((part,))], "logps")[0]
    assert found.tolist() == pytest.approx([alone(model, whole), alone(model, part)], abs=2e-5)
    assert abs(found[0] - found[1]) > 1e-3


def test_divergence_from_a_live_reference_is_that_of_whole_distributions() -> None:
    policy, other = tiny_model(seed=0), tiny_model(seed=1)
    need = [parse(name, "pair") for name in ("chosen_vocab_kl", "chosen_token_mask", "chosen_ref_logps")]
    for scorer in (APART, TOGETHER):
        found = scorer.quantities(policy, PAIRS[:2], need, {"ref": Live(other, "fp32")})
        for i, example in enumerate(PAIRS[:2]):
            one = example.sequences[0]
            ids = torch.tensor([[*one.prompt_ids, *one.completion_ids]])
            ours, theirs = (model(input_ids=ids).logits[0].log_softmax(-1) for model in (policy, other))
            kl = (theirs.exp() * (theirs - ours)).sum(-1)[len(one.prompt_ids) - 1 : -1]
            torch.testing.assert_close(found["chosen_vocab_kl"][i, : len(kl)], kl, atol=1e-5, rtol=1e-4)
            assert found["chosen_ref_logps"][i].item() == pytest.approx(alone(other, one), abs=2e-5)


def test_only_what_is_asked_for_is_computed() -> None:
    at = layout(PAIRS[:2], CPU, shared=False)
    assert set(language_model(tiny_model(), at, frozenset(["entropy"]))) == {"entropy"}


def test_prompts_are_shared_where_that_saves_a_fifth() -> None:
    model = tiny_model()
    long = [Example((Sequence([7] * 20, [8] * 4), Sequence([7] * 20, [9] * 4)))] * 4  # 48 tokens apart, 28 together
    short = [Example((Sequence([7] * 2, [8] * 20), Sequence([7] * 2, [9] * 20)))] * 4  # 44 apart, 42 together
    other = [Example((Sequence([7] * 20, [8] * 4), Sequence([6] * 20, [9] * 4)))] * 4  # prompts differ
    assert share_prompts("auto", long, model, token_values, CPU)
    assert not share_prompts("auto", short, model, token_values, CPU)
    assert share_prompts("always", short, model, token_values, CPU)
    assert not share_prompts("never", long, model, token_values, CPU)
    assert not share_prompts("always", [replace(e, sequences=e.sequences[:1]) for e in long], model, token_values, CPU)
    assert not share_prompts("always", other, model, token_values, CPU)
    assert (APART.tokens(long), TOGETHER.tokens(long)) == (192, 112)


def test_a_model_that_ignores_the_cuts_is_not_given_shared_prompts(caplog: pytest.LogCaptureFixture) -> None:
    model = tiny_model()
    real = model.model.forward
    model.model.forward = lambda **kwargs: real(**{**kwargs, "shared_cuts": None})
    assert not share_prompts("always", PAIRS, model, token_values, CPU)
    assert "does not share prompts" in caplog.text


def test_other_measures_than_those_of_a_language_model_go_the_same_way() -> None:
    """What a preference model brings: its own measure of each sequence, placed by role."""

    def last_ids(model: nn.Module, at: object, wanted: frozenset[str], reference: object) -> dict[str, Tensor]:
        batch: Batch = at.batch  # type: ignore[attr-defined]
        return {"scores": batch.input_ids.flatten()[batch.last].float()}

    names = ["chosen_scores", "rejected_scores"]
    for scorer in (replace(APART, measure=last_ids), replace(TOGETHER, measure=last_ids)):
        found = scorer.quantities(tiny_model(), PAIRS[:3], [parse(name, "pair") for name in names])
        assert found["chosen_scores"].tolist() == [e.sequences[0].completion_ids[-1] for e in PAIRS[:3]]
        assert found["rejected_scores"].tolist() == [e.sequences[1].completion_ids[-1] for e in PAIRS[:3]]


def test_collect_keeps_the_order_and_every_example() -> None:
    def compute(some: list[Example]) -> dict[str, Tensor]:
        return {"prompt": torch.tensor([float(len(example.sequences[0].prompt_ids)) for example in some])}

    found = replace(APART, budget=1).collect(PAIRS, compute)
    np.testing.assert_array_equal(found["prompt"], [len(e.sequences[0].prompt_ids) for e in PAIRS])
    assert APART.collect([], compute) == {}

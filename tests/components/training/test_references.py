"""The references: what each computes, when it moves, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from components.contract import Choice
from components.errors import ParamsError
from components.objectives import Quantity, parse
from components.sequences import Example, Sequence
from components.training.lora import add_adapters
from components.training.params import Lora
from components.training.references import Live, Moving, Precomputed, Setting, as_values
from components.training.scorer import Reference, Scorer
from components.training.tables import REFERENCES
from tests.components.training.helpers import pairs
from tests.tiny import tiny_model

SCORER = Scorer(shared=False, device=torch.device("cpu"), precision="fp32", budget=400)
EXAMPLES = [Example((Sequence(p, w, "chosen"), Sequence(p, r, "rejected"))) for p, w, r in pairs(4)]
LOGPS = (parse("chosen_ref_logps", "pair"), parse("rejected_ref_logps", "pair"))
DIVERGENCE = (*LOGPS, parse("chosen_vocab_kl", "pair"))


def setting(policy: Any, needs: tuple[Quantity, ...] = LOGPS, **changes: Any) -> Setting:
    def once() -> dict[bytes, float]:
        found = {"train": SCORER.by_sequence(policy, EXAMPLES, "logps")}
        return dict(as_values({"train": EXAMPLES}, found))

    default = Setting(needs=needs, policy=policy, load=None, once=once, adapters=False, precision="fp32")
    return replace(default, **changes)


def make(name: str, given: Setting, **knobs: Any) -> Reference:
    return REFERENCES.bind(REFERENCES.choose("reference", {"name": name, **knobs}))(given)


def chosen(reference: Reference, policy: Any) -> torch.Tensor:
    return SCORER.quantities(policy, EXAMPLES, LOGPS, {"ref": reference})["chosen_ref_logps"]


def shift(model: Any) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05)


def test_a_fixed_reference_is_computed_once_where_that_is_all_that_is_asked() -> None:
    assert isinstance(make("fixed", setting(tiny_model())), Precomputed)
    assert isinstance(make("fixed", setting(tiny_model(), DIVERGENCE)), Live)


@pytest.mark.parametrize("name", ["fixed", "live"])
def test_a_reference_that_does_not_move_stays_where_training_began(name: str) -> None:
    policy = tiny_model()
    found = make(name, setting(policy))
    before = chosen(found, policy)
    shift(policy)
    torch.testing.assert_close(chosen(found, policy), before)
    assert not before.requires_grad


def test_all_kinds_agree_where_nothing_has_moved() -> None:
    policy = tiny_model()
    made = [make(name, setting(policy)) for name in ("fixed", "live", "moving")]
    one, *others = (chosen(reference, policy) for reference in made)
    for other in others:
        torch.testing.assert_close(other, one, atol=1e-5, rtol=1e-6)


def test_another_model_is_loaded_where_one_was_given() -> None:
    policy, other = tiny_model(seed=0), tiny_model(seed=1)
    found = make("live", setting(policy, load=lambda: other))
    wanted = SCORER.by_sequence(other, EXAMPLES, "logps")[0]
    assert chosen(found, policy).tolist() == pytest.approx(wanted.tolist(), abs=1e-5)


def test_without_adapters_the_policy_is_its_reference() -> None:
    base = tiny_model()
    found = make("adapter_off", setting(base, adapters=True))
    before = chosen(found, base)
    policy = add_adapters(base, Lora(rank=2), seed=0)
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    torch.testing.assert_close(chosen(found, policy), before, atol=1e-5, rtol=1e-6)
    own = SCORER.quantities(policy, EXAMPLES, [parse("chosen_logps", "pair")])["chosen_logps"]
    assert (own - before).abs().max() > 0.01
    kl = SCORER.quantities(policy, EXAMPLES, [DIVERGENCE[2]], {"ref": found})["chosen_vocab_kl"]
    assert kl.max() > 1e-4
    assert kl.requires_grad


@pytest.mark.parametrize(("adapters", "load"), [(False, None), (True, tiny_model)])
def test_adapter_off_needs_adapters_and_no_other_reference(adapters: bool, load: Any) -> None:
    with pytest.raises(ParamsError, match="adapter_off is the policy without its adapters"):
        make("adapter_off", setting(tiny_model(), adapters=adapters, load=load))


def moved(mix: float, every: int, steps: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    policy = tiny_model()
    start = {name: value.detach().clone() for name, value in policy.named_parameters()}
    found = make("moving", setting(policy), mix=mix, every=every)
    assert isinstance(found, Moving)
    shift(policy)
    for step in range(1, steps + 1):
        found.after(policy, step)
    return start, dict(found.tensors), dict(policy.named_parameters())


def test_a_moving_reference_goes_part_of_the_way_every_so_many_steps() -> None:
    """After step 2 of 3 with every 2: weights = .25 policy + .75 start."""
    start, reference, policy = moved(0.25, 2, 3)
    for name in start:
        torch.testing.assert_close(reference[name], 0.25 * policy[name].detach() + 0.75 * start[name])


def test_mix_1_is_the_last_policy_and_a_mix_at_each_step_an_average() -> None:
    _, reference, policy = moved(1.0, 1, 1)
    assert all(torch.equal(reference[name], policy[name]) for name in policy)
    start, average, policy = moved(0.1, 1, 2)  # 1 - .9^2 = .19 of the way
    for name in start:
        torch.testing.assert_close(average[name], 0.19 * policy[name].detach() + 0.81 * start[name])


def test_a_moving_reference_follows_whole_weights_only() -> None:
    with pytest.raises(ParamsError, match="moving follows whole weights"):
        make("moving", setting(tiny_model(), adapters=True))


def test_the_default_reference_does_not_move() -> None:
    assert REFERENCES.choose("reference", {"name": "fixed"}) == Choice("fixed", {}, 1)

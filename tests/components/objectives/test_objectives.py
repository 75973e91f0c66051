"""What single objectives are known for, and what `bind` refuses."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from components.contract import Choice
from components.errors import ParamsError
from components.methods.pages import page
from components.objectives import OBJECTIVES, bind, needs
from components.objectives.numerics import log1mexp
from components.objectives.pairwise import dpo, ipo, ipo_sum
from components.objectives.reference_free import orpo
from components.objectives.reward import bradley_terry, bradley_terry_margin, bradley_terry_soft
from components.objectives.unpaired import kto

F64 = torch.float64


def vector(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def minimize(loss: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    x = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        return value.item()

    optimizer.step(closure)  # type: ignore[arg-type]
    return x.detach()


REWARD = vector(1.0, 0.2, -0.5, 0.8, 0.0)  # fixture F3
REFERENCE = F.log_softmax(vector(0.3, -0.2, 0.6, 0.0, -0.5), 0)
FIRST, SECOND = (index.flatten() for index in torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij"))
WIN = torch.sigmoid(REWARD[FIRST] - REWARD[SECOND])  # Bradley-Terry: P(first beats second), all ordered pairs


def on_bandit(objective: Callable[..., Tensor], **fixed: float) -> Tensor:
    """The policy of smallest expected loss over all pairs of five arms."""

    def loss(logits: Tensor) -> Tensor:
        logps = F.log_softmax(logits, 0)
        values = objective(logps[FIRST], logps[SECOND], REFERENCE[FIRST], REFERENCE[SECOND], **fixed)
        return (WIN * values).sum()

    return F.softmax(minimize(loss, torch.zeros(5, dtype=F64)), 0)


def test_dpo_on_bradley_terry_labels_finds_the_optimum_of_kl_regularised_reward() -> None:
    """The population optimum is softmax(log ref + r / beta), for any reference with full support."""
    wanted = F.softmax(REFERENCE + REWARD / 0.5, 0)
    torch.testing.assert_close(on_bandit(dpo, beta=0.5), wanted, atol=1e-6, rtol=0)


def test_ipo_finds_the_optimum_of_regularised_preference() -> None:
    """With uniformly drawn pairs: softmax(log ref + P(arm beats a uniform opponent) / beta)."""
    win = WIN.reshape(5, 5).mean(1)
    wanted = F.softmax(REFERENCE + win / 0.5, 0)
    torch.testing.assert_close(on_bandit(ipo_sum, beta=0.5), wanted, atol=1e-6, rtol=0)


def test_dpo_slope() -> None:
    """dL/dh = -beta sigmoid(-beta h): at h = 1.5 and beta .1, -.1 sigmoid(-.15) = -.1 * .462570."""
    chosen = vector(-10.0).requires_grad_()
    dpo(chosen, vector(-12.0), vector(-11.0), vector(-11.5)).sum().backward()
    assert chosen.grad is not None
    assert chosen.grad.item() == pytest.approx(-0.0462570, abs=1e-7)


def test_ipo_does_not_change_when_texts_and_log_ratios_double() -> None:
    single = ipo(vector(-10), vector(-12), vector(-11), vector(-11.5), vector(5), vector(6))
    double = ipo(vector(-20), vector(-24), vector(-22), vector(-23), vector(10), vector(12))
    torch.testing.assert_close(single, double)


def test_ipo_is_smallest_at_its_target_and_rises_beyond() -> None:
    zero = vector(0.0)
    losses = [ipo_sum(vector(h), zero, zero, zero).item() for h in (4.0, 5.0, 6.0)]
    assert losses == [1.0, 0.0, 1.0]


def test_orpo_odds_term_vanishes_as_the_odds_ratio_grows() -> None:
    loss = orpo(vector(-0.01), vector(-60.0), vector(1), vector(1), lam=1.0)
    assert loss.item() == pytest.approx(0.01, abs=1e-6)


def test_orpo_at_probability_1_is_finite() -> None:
    """log1p(-exp(0)) is -inf in released code."""
    chosen = torch.zeros(1, requires_grad=True)
    loss = orpo(chosen, torch.zeros(1), torch.ones(1), torch.ones(1))
    loss.sum().backward()
    assert loss.item() == pytest.approx(0.1 * math.log(2), rel=1e-5)
    assert chosen.grad is not None
    assert chosen.grad.isfinite().all()


def test_kto_at_its_reference_point_is_half_the_weight() -> None:
    """log-ratio = z0: sigmoid(0) = 1/2; the loss is linear in the weights."""
    loss = kto(
        vector(-9, -9), vector(-10, -10), vector(1, 0), vector(1, 1), desirable_weight=1.0, undesirable_weight=3.0
    )
    assert loss.tolist() == [0.5, 1.5]


def test_kto_takes_boolean_labels() -> None:
    arguments = (vector(-9, -9), vector(-10, -10))
    as_bool = kto(*arguments, torch.tensor([True, False]), vector(0, 0))
    assert torch.equal(as_bool, kto(*arguments, vector(1, 0), vector(0, 0)))


def test_bradley_terry_ignores_an_offset_unless_it_is_centred() -> None:
    near, far = (bradley_terry(vector(2 + c), vector(0.5 + c)).item() for c in (0.0, 7.0))
    assert near == pytest.approx(far)
    assert bradley_terry(vector(9), vector(7.5), centering=0.01) > bradley_terry(vector(2), vector(0.5), centering=0.01)


def test_bradley_terry_of_equal_scores_is_log_2() -> None:
    assert bradley_terry(vector(0.0), vector(0.0)).item() == pytest.approx(math.log(2))


def test_bradley_terry_keeps_large_margins() -> None:
    """log(sigmoid(d) + 1e-5), as released code has it, is about -1e-5 at d = 30; the exact loss is exp(-30)."""
    assert bradley_terry(vector(30.0), vector(0.0)).item() == pytest.approx(math.exp(-30), rel=1e-6)


def test_bradley_terry_swapped_labels_give_the_other_probability() -> None:
    there, back = bradley_terry(vector(2.0), vector(0.5)), bradley_terry(vector(0.5), vector(2.0))
    assert (torch.exp(-there) + torch.exp(-back)).item() == pytest.approx(1.0)


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_soft_labels_are_met_at_their_logit(p: float) -> None:
    found = minimize(lambda d: bradley_terry_soft(d, vector(0.0), vector(p)).sum(), vector(0.0))
    assert found.item() == pytest.approx(math.log(p / (1 - p)), abs=1e-6)


def test_at_the_margin_the_slope_is_one_half() -> None:
    chosen = vector(1.5).requires_grad_()
    bradley_terry_margin(chosen, vector(0.5), vector(1.0)).sum().backward()
    assert chosen.grad is not None
    assert chosen.grad.item() == -0.5


@pytest.mark.parametrize("x", [-1e-7, -1e-3, -0.5, -math.log(2), -1.0, -5.0, -50.0])
def test_log1mexp_is_exact(x: float) -> None:
    """Against the C library in fp64; for small exp(x) that is -exp(x), where log(1 - exp(x)) has lost every digit."""
    exact = math.log(-math.expm1(x)) if x > -1 else math.log1p(-math.exp(x))
    assert log1mexp(vector(x)).item() == pytest.approx(exact, rel=1e-12)


def test_an_unknown_objective_names_the_nearest() -> None:
    with pytest.raises(ParamsError, match="Did you mean 'dpo'"):
        bind(Choice("dpoo"))


def test_an_unknown_knob_names_the_nearest() -> None:
    with pytest.raises(ParamsError, match="Did you mean 'beta'"):
        bind(Choice("dpo", {"betta": 1.0}))


@pytest.mark.parametrize("value", [True, "large"])
def test_a_knob_is_a_number(value: str | bool) -> None:
    with pytest.raises(ParamsError, match="must be float"):
        bind(Choice("dpo", {"beta": value}))


def test_an_objective_of_another_family_is_refused() -> None:
    with pytest.raises(ParamsError, match="does not fit this step"):
        bind(Choice("dpo"), families=("reward",))


def test_needs_and_knobs_are_the_signature() -> None:
    assert needs("dpo") == ("chosen_logps", "rejected_logps", "chosen_ref_logps", "rejected_ref_logps")
    knobs = {name: knob.default for name, knob in OBJECTIVES["kto"].knobs.items()}
    assert knobs == {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0}


def test_the_generated_page_has_every_objective_and_is_stable() -> None:
    text = page(OBJECTIVES)
    assert all(f"\n## {name}\n" in text for name in OBJECTIVES.rows)
    assert text == page(OBJECTIVES)

"""The same tests for every objective of the catalogue: what a row claims is measured, what holds for all is checked."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from components.contract import Choice
from components.contract.ranges import Range
from components.errors import ParamsError, SpecError
from components.objectives import FAMILIES, OBJECTIVES, Direction, Reduction, bind, needs, parse
from components.sequences import VIEWS
from tests.components.objectives.cases import CASES, Case
from tests.components.objectives.draw import Drawn, draw, free, masks, part, quantities

NAMES = sorted(OBJECTIVES.rows)
CLAIMS = [(row.name, claim) for row in OBJECTIVES for claim in row.extra("claims", ())]
DIRECTIONS = [(name, claim) for name, claim in CLAIMS if isinstance(claim, Direction)]
REDUCTIONS = [(name, claim) for name, claim in CLAIMS if isinstance(claim, Reduction)]
RAGGED = [name for name in NAMES if any(quantity.kind == "mask" for quantity in quantities(name).values())]
BEST, WORST = ("chosen", 1), ("rejected", -1)
START: dict[str, list[tuple[dict[str, float], list[tuple[str, int]]]]] = {
    # what training must do to what the model says of a role where it starts: +1 raise, -1 lower
    "pair": [({"preference_probability": 1.0}, [BEST, WORST])],
    "demonstration": [({}, [("completion", 1)])],
    "unpaired": [({"desirable": 1.0}, [("completion", 1)]), ({"desirable": 0.0}, [("completion", -1)])],
    "list": [({}, [("listed", 1)])],
}


def compute(name: str, drawn: Drawn, **settings: float) -> Tensor:
    return bind(Choice(name, dict(settings)))(**drawn)


def gradients(name: str, drawn: Drawn, **settings: float) -> Drawn:
    leaves = {
        key: value.clone().requires_grad_() if value.is_floating_point() else value for key, value in drawn.items()
    }
    wanted = [key for key, value in leaves.items() if value.is_floating_point()]
    loss = compute(name, leaves, **settings)
    found = torch.autograd.grad(loss.sum(), [leaves[key] for key in wanted], allow_unused=True)
    return {
        key: torch.zeros_like(leaves[key]) if gradient is None else gradient
        for key, gradient in zip(wanted, found, strict=True)
    }


def start_of_training(name: str, like: Drawn, **fixed: float) -> Drawn:
    """`like` where policy equals reference (so every divergence is 0), and where a new reward model knows nothing."""
    found = dict(like)
    for key, quantity in quantities(name).items():
        if quantity.source == "ref":
            found[key] = found[key.replace("_ref_", "_")].clone()
        if quantity.source == "batch" or quantity.measure in ("scores", "logits", "vocab_kl"):
            found[key] = torch.zeros_like(found[key])
        if key in fixed:
            found[key] = torch.full_like(found[key], fixed[key])
    if not any(quantity.source == "ref" for quantity in quantities(name).values()):
        for key in found:  # without a reference: nothing preferred yet
            if key.startswith("rejected_"):
                found[key] = found[key.replace("rejected_", "chosen_")].clone()
    return found


def tensors(name: str, given: dict[str, Any]) -> Drawn:
    """What a case gives; masks are written as 0 and 1."""
    kinds = {key: quantity.kind for key, quantity in quantities(name).items()}
    made = {key: torch.tensor(value, dtype=torch.float64) for key, value in given.items()}
    return {key: value.bool() if kinds[key] == "mask" else value for key, value in made.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_a_hand_worked_value_and_it_is_met(name: str) -> None:
    assert CASES.get(name), f"{name} has no hand-worked value in cases.py"
    for case in CASES[name]:
        drawn = tensors(name, case.given)
        assert set(drawn) == set(needs(name))
        found = compute(name, drawn, **case.knobs)
        torch.testing.assert_close(found, torch.tensor(case.expect, dtype=torch.float64), atol=1e-6, rtol=0)


def test_no_hand_worked_value_is_left_over() -> None:
    assert set(CASES) == set(OBJECTIVES.rows)


@pytest.mark.parametrize("name", NAMES)
def test_every_need_means_something_and_padding_comes_with_its_mask(name: str) -> None:
    assert needs(name)
    assert set(masks(name, draw(name, 2))) == {
        key for key, quantity in quantities(name).items() if quantity.kind != "mask" and {"K", "T"} & set(quantity.axes)
    }


@pytest.mark.parametrize(
    ("need", "axes", "source"),
    [
        ("chosen_logps", "B", "policy"),
        ("chosen_ref_logps", "B", "ref"),
        ("rejected_prev_token_logps", "BT", "prev"),
        ("chosen_vocab_kl", "BT", "policy"),
        ("margin", "B", "given"),
        ("pair_logits", "B", "policy"),
    ],
)
def test_names_are_parsed(need: str, axes: str, source: str) -> None:
    found = parse(need, "pair")
    assert ("".join(found.axes), found.source) == (axes, source)


def test_names_of_lists_have_the_axis_of_their_role() -> None:
    assert [parse(need, "list").axes for need in ("listed_logps", "listed_tiers", "listed_token_logps")] == [
        ("B", "K"),
        ("B", "K"),
        ("B", "K", "T"),
    ]


@pytest.mark.parametrize(
    ("need", "view"),
    [
        ("chosen_logs", "pair"),
        ("chosen_logits", "pair"),
        ("pair_logits", "list"),
        ("listed_logps", "pair"),
        ("chosen_mask", "pair"),
        ("reference_kl", "pair"),
    ],
)
def test_the_vocabulary_is_closed(need: str, view: str) -> None:
    with pytest.raises(SpecError, match=f"means nothing for the view '{view}'"):
        parse(need, view)


def bounds(name: str) -> dict[str, Range]:
    """The range of every knob."""
    return {knob: get_args(said.annotation)[1] for knob, said in OBJECTIVES[name].knobs.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_row_says_where_it_comes_from_and_what_its_knobs_may_be(name: str) -> None:
    row = OBJECTIVES[name]
    assert row.load().__name__ == row.name
    assert row.facts["family"] in FAMILIES
    assert row.facts["view"] in VIEWS.rows
    assert all([row.source, row.facts["equation"], row.method, row.summary])
    assert all(isinstance(knob.default, float) and knob.default in bounds(name)[key] for key, knob in row.knobs.items())


@pytest.mark.parametrize("name", [name for name in NAMES if OBJECTIVES[name].knobs])
def test_knobs_out_of_range_are_refused(name: str) -> None:
    for knob, allowed in bounds(name).items():
        edges = [(allowed.above, 0.0), (allowed.at_least, -1.0), (allowed.below, 0.0), (allowed.at_most, 1.0)]
        outside = [edge + step for edge, step in edges if edge is not None]
        assert outside, f"{name}.{knob} has no bound"
        for value in outside:
            with pytest.raises(ParamsError, match=knob):
                bind(Choice(name, {knob: value}))


@pytest.mark.parametrize(("name", "claim"), DIRECTIONS)
def test_claimed_directions_are_those_of_the_gradient(name: str, claim: Direction) -> None:
    drawn = draw(name, 64)
    for key, value in claim.given.items():
        drawn[key] = torch.full_like(drawn[key], value)
    found = gradients(name, drawn)
    for argument in claim.arguments:
        signed = found[argument] if claim.rises else -found[argument]
        assert (signed >= 0).all(), f"{name} goes the other way in {argument}"
        assert signed.sum() > 0, f"{name} does not depend on {argument}"


def stand_in(drawn: Drawn, ours: str) -> Tensor:
    """`name`, or `name[k]`: one place of the axis K."""
    name, _, place = ours.partition("[")
    return drawn[name][:, int(place.rstrip("]"))] if place else drawn[name]


@pytest.mark.parametrize(("name", "claim"), REDUCTIONS)
def test_claimed_special_cases_are_equal(name: str, claim: Reduction) -> None:
    width = max([len(value) for value in claim.given.values() if isinstance(value, tuple)], default=4)
    drawn = draw(name, 32, width=width)
    for key, value in claim.given.items():
        drawn[key] = torch.as_tensor(value).to(drawn[key].dtype).expand(drawn[key].shape)
    supplied = {key: torch.full((32,), value, dtype=torch.float64) for key, value in claim.supply.items()}
    other = {
        theirs: supplied[theirs] if theirs in supplied else stand_in(drawn, claim.rename.get(theirs, theirs))
        for theirs in needs(claim.to)
    }
    found = compute(name, drawn, **claim.knobs)
    torch.testing.assert_close(found, compute(claim.to, other), atol=1e-9, rtol=1e-9)


def signs(name: str, role: str, sign: int, drawn: Drawn) -> dict[str, Tensor]:
    """What the policy says of a role, with the sign that its first change must have; 0 where either will do."""
    found = {}
    for key, quantity in quantities(name).items():
        if quantity.measure == "logits":  # of both side by side: up for the one that is preferred
            found[key] = torch.ones_like(drawn[key])
        if (
            quantity.role != role
            or quantity.source != "policy"
            or quantity.measure not in ("logps", "token_logps", "scores")
        ):
            continue
        wanted = torch.full_like(drawn[key], sign)
        mask = masks(name, drawn).get(key, torch.ones_like(wanted, dtype=torch.bool))
        if "K" in quantity.axes:  # the best tier up, the worst one down
            tiers = drawn[f"{role}_tiers"]
            last = torch.where(mask, tiers, -1.0).amax(-1, keepdim=True)
            wanted = torch.where(tiers == 0, 1.0, torch.where(tiers == last, -1.0, 0.0)).double()
        found[key] = torch.where(mask, wanted, 0.0)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_training_starts_in_the_right_direction(name: str) -> None:
    """Where the policy equals the reference: what is preferred goes up, what is not goes down."""
    for fixed, wanted in START[OBJECTIVES[name].facts["view"]]:
        drawn = start_of_training(name, draw(name, 6), **fixed)
        found = gradients(name, drawn)
        for role, sign in wanted:
            expected = signs(name, role, sign, drawn)
            assert expected, f"{name} takes nothing of {role}"
            for key, signed in expected.items():
                assert (-found[key] * signed >= 0).all(), f"{name}: {key}"
                assert (-found[key] * signed > 0).equal(signed != 0), f"{name}: {key}"


@pytest.mark.parametrize("name", [n for n in NAMES if any("_ref_" in need for need in needs(n))])
def test_at_step_0_the_loss_is_its_closed_form(name: str) -> None:
    """Policy equals reference: dropout, another precision or a wrong reference would show here."""
    for case in CASES[name]:
        assert case.start is not None, f"a case of {name} lacks `start`"
        found = compute(name, start_of_training(name, tensors(name, case.given)), **case.knobs)
        expected = torch.as_tensor(case.start, dtype=found.dtype).expand_as(found)
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


EXTREMES: dict[str, tuple[float, ...]] = {
    "logp": (0.0, -1e-7, -1e4),
    "count": (1.0, 4096.0),
    "binary": (0.0, 1.0),
    "share": (0.0, 0.5, 1.0),
    "nonnegative": (0.0, 1e4),
    "real": (-1e4, 0.0, 1e4),
}


def extremes(name: str, dtype: torch.dtype) -> Drawn:
    """Every combination of extreme values for objectives of plain numbers; else 512 rows of random extreme entries."""
    wanted = quantities(name)
    if all(quantity.axes == ("B",) for quantity in wanted.values()):
        grid = torch.cartesian_prod(*(torch.tensor(EXTREMES[q.kind], dtype=dtype) for q in wanted.values()))
        return dict(zip(wanted, grid.reshape(len(grid), -1).unbind(1), strict=True))
    drawn, generator = draw(name, 512, dtype=dtype), torch.Generator().manual_seed(1)
    for key, quantity in wanted.items():
        if quantity.kind in EXTREMES:
            values = torch.tensor(EXTREMES[quantity.kind], dtype=dtype)
            drawn[key] = values[torch.randint(len(values), drawn[key].shape, generator=generator)]
    return drawn


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_have_a_finite_loss_and_gradient(name: str, dtype: torch.dtype) -> None:
    """Log-probabilities of 0 and -1e4, scores of +-1e4, probabilities of 0 and 1."""
    drawn = extremes(name, dtype)
    assert compute(name, drawn).isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(name, drawn).values())


@pytest.mark.parametrize("name", RAGGED)
@pytest.mark.parametrize("garbage", [0.0, -1e30, 1e30])
def test_padding_changes_no_loss_and_gets_no_gradient(name: str, garbage: float) -> None:
    drawn = draw(name, 16)
    filled = dict(drawn)
    for key, mask in masks(name, drawn).items():
        filled[key] = torch.where(mask, drawn[key], garbage)
        assert not mask.all(), f"nothing of {key} is padding, so this test says nothing"
    assert torch.equal(compute(name, filled), compute(name, drawn))
    found = gradients(name, filled)
    for key, mask in masks(name, drawn).items():
        assert (found[key][~mask.expand_as(found[key])] == 0).all(), f"{name}: the padding of {key} has a gradient"


@pytest.mark.parametrize("name", RAGGED)
def test_wider_padding_changes_no_loss(name: str) -> None:
    """A batch with a longer list or completion in it gives the other rows the losses that they have without it."""
    drawn = draw(name, 8)
    wider = {key: torch.nn.functional.pad(value, (0, 3)) if value.ndim > 1 else value for key, value in drawn.items()}
    torch.testing.assert_close(compute(name, wider), compute(name, drawn), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_a_loop_over_its_rows(name: str) -> None:
    drawn = draw(name, 5)
    together = compute(name, drawn)
    alone = [compute(name, part(drawn, slice(i, i + 1))) for i in range(5)]
    assert together.shape == (5,)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_permuting_the_rows_permutes_the_losses(name: str) -> None:
    drawn, order = draw(name, 7), torch.tensor([3, 6, 0, 5, 1, 4, 2])
    torch.testing.assert_close(compute(name, part(drawn, order)), compute(name, drawn)[order], atol=1e-12, rtol=1e-12)


def single(drawn: Drawn) -> Drawn:
    return {key: value.float() if value.is_floating_point() else value for key, value in drawn.items()}


@pytest.mark.parametrize("name", NAMES)
def test_fp32_is_close_to_fp64(name: str) -> None:
    exact = draw(name, 64, dtype=torch.float64)
    rounded = compute(
        name, {key: value.float() if value.is_floating_point() else value for key, value in exact.items()}
    )
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), compute(name, exact), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_16_bit_inputs_are_computed_in_fp32(name: str) -> None:
    half = draw(name, 8, dtype=torch.bfloat16)
    found = compute(name, half)
    assert found.dtype == torch.float32
    assert torch.equal(found, compute(name, single(half)))


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    drawn = draw(name, 8, seed=1)
    varied = [key for key in free(name) if not _constant(name, key, drawn)]

    def function(*values: Tensor) -> Any:
        return compute(name, {**drawn, **dict(zip(varied, values, strict=True))})

    assert varied
    assert torch.autograd.gradcheck(function, [drawn[key].clone().requires_grad_() for key in varied])


def _constant(name: str, key: str, drawn: Drawn) -> bool:
    """Taken without gradient on purpose (a stop-gradient in the formula)."""
    return bool((gradients(name, drawn)[key] == 0).all())


@pytest.mark.parametrize("name", NAMES)
def test_the_hand_worked_values_are_not_only_trivial(name: str) -> None:
    """Two rows with two different losses: a constant would not pass."""
    cases: list[Case] = CASES[name]
    assert any(len(set(case.expect)) > 1 for case in cases)

"""The same tests for every objective of the catalogue: what a row claims is measured, what holds for all is checked."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from components.contract import Choice
from components.contract.ranges import Range
from components.errors import ParamsError
from components.objectives import FAMILIES, OBJECTIVES, QUANTITIES, Direction, Reduction, bind, needs
from tests.components.objectives.cases import CASES, Case

NAMES = sorted(OBJECTIVES.rows)
CLAIMS = [(row.name, claim) for row in OBJECTIVES for claim in row.extra("claims", ())]
DIRECTIONS = [(name, claim) for name, claim in CLAIMS if isinstance(claim, Direction)]
REDUCTIONS = [(name, claim) for name, claim in CLAIMS if isinstance(claim, Reduction)]
START = {  # what training must do to the policy's own quantities where it starts: +1 raise, -1 lower
    "pair": [({}, {"chosen_logps": 1, "rejected_logps": -1})],
    "reward": [({"preference_probability": 1.0}, {"chosen_scores": 1, "rejected_scores": -1, "pair_logits": 1})],
    "demonstration": [({}, {"completion_logps": 1})],
    "unpaired": [({"desirable": 1.0}, {"completion_logps": 1}), ({"desirable": 0.0}, {"completion_logps": -1})],
}


def draw(name: str, rows: int, *, seed: int = 0, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """Random quantities for an objective, each within the values that its kind allows."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(rows, generator=generator, dtype=torch.float64)

    makers = {
        "logp": lambda: uniform(-30, -0.5),
        "count": lambda: uniform(1, 12).floor(),
        "binary": lambda: (uniform(0, 1) > 0.5).double(),
        "probability": lambda: uniform(0, 1),
        "nonnegative": lambda: uniform(0, 2),
        "real": lambda: uniform(-4, 4),
    }
    return {need: makers[QUANTITIES[need].kind]().to(dtype) for need in needs(name)}


def compute(name: str, quantities: dict[str, Tensor], **settings: float) -> Tensor:
    return bind(Choice(name, dict(settings)))(**quantities)


def gradients(name: str, quantities: dict[str, Tensor], **settings: float) -> dict[str, Tensor]:
    leaves = {key: value.clone().requires_grad_() for key, value in quantities.items()}
    loss = compute(name, leaves, **settings)
    found = torch.autograd.grad(loss.sum(), list(leaves.values()), allow_unused=True)
    return {k: torch.zeros_like(v) if g is None else g for (k, v), g in zip(leaves.items(), found, strict=True)}


def start_of_training(name: str, rows: int = 6, **fixed: float) -> dict[str, Tensor]:
    """Random quantities where policy equals reference (so the KL is 0), and where a new reward model knows nothing."""
    quantities = draw(name, rows)
    for key in quantities:
        if "_ref_" in key:
            quantities[key] = quantities[key.replace("_ref_", "_")].clone()
        if key in ("reference_kl", "chosen_scores", "rejected_scores", "pair_logits"):
            quantities[key] = torch.zeros(rows, dtype=torch.float64)
        if key in fixed:
            quantities[key] = torch.full((rows,), fixed[key], dtype=torch.float64)
    if "chosen_logps" in quantities and not any("_ref_" in key for key in quantities):
        for part in ("logps", "lengths"):  # without a reference: nothing preferred yet
            if f"chosen_{part}" in quantities:
                quantities[f"rejected_{part}"] = quantities[f"chosen_{part}"].clone()
    return quantities


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_a_hand_worked_value_and_it_is_met(name: str) -> None:
    assert CASES.get(name), f"{name} has no hand-worked value in cases.py"
    for case in CASES[name]:
        quantities = {key: torch.tensor(value, dtype=torch.float64) for key, value in case.given.items()}
        assert set(quantities) == set(needs(name))
        found = compute(name, quantities, **case.knobs)
        torch.testing.assert_close(found, torch.tensor(case.expect, dtype=torch.float64), atol=1e-6, rtol=0)


def test_no_hand_worked_value_is_left_over() -> None:
    assert set(CASES) == set(OBJECTIVES.rows)


@pytest.mark.parametrize("name", NAMES)
def test_the_vocabulary_is_closed(name: str) -> None:
    assert needs(name)
    assert set(needs(name)) <= set(QUANTITIES)


def bounds(name: str) -> dict[str, Range]:
    """The range of every knob."""
    return {knob: get_args(said.annotation)[1] for knob, said in OBJECTIVES[name].knobs.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_row_says_where_it_comes_from_and_what_its_knobs_may_be(name: str) -> None:
    row = OBJECTIVES[name]
    assert row.load().__name__ == row.name
    assert row.facts["family"] in FAMILIES
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
    quantities = draw(name, 64)
    for key, value in claim.given.items():
        quantities[key] = torch.full((64,), value, dtype=torch.float64)
    found = gradients(name, quantities)
    for argument in claim.arguments:
        signed = found[argument] if claim.rises else -found[argument]
        assert (signed >= 0).all(), f"{name} goes the other way in {argument}"
        assert signed.sum() > 0, f"{name} does not depend on {argument}"


@pytest.mark.parametrize(("name", "claim"), REDUCTIONS)
def test_claimed_special_cases_are_equal(name: str, claim: Reduction) -> None:
    quantities = draw(name, 32)
    for key, value in claim.given.items():
        quantities[key] = torch.full((32,), value, dtype=torch.float64)
    other = {theirs: quantities[claim.rename.get(theirs, theirs)] for theirs in needs(claim.to)}
    found = compute(name, quantities, **claim.knobs)
    torch.testing.assert_close(found, compute(claim.to, other), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_training_starts_in_the_right_direction(name: str) -> None:
    """Where the policy equals the reference: the chosen completion goes up, the rejected one down."""
    for fixed, wanted in START[OBJECTIVES[name].facts["family"]]:
        found = gradients(name, start_of_training(name, **fixed))
        asked = found.keys() & wanted.keys()
        assert asked
        for argument in asked:
            assert (-found[argument] * wanted[argument] > 0).all(), f"{name}: {argument}"


@pytest.mark.parametrize("name", [n for n in NAMES if any("_ref_" in need for need in needs(n))])
def test_at_step_0_the_loss_is_its_closed_form(name: str) -> None:
    """Policy equals reference: dropout, another precision or a wrong reference would show here."""
    for case in CASES[name]:
        assert case.start is not None, f"a case of {name} lacks `start`"
        binary = {key: values[0] for key, values in case.given.items() if QUANTITIES[key].kind == "binary"}
        found = compute(name, start_of_training(name, **binary), **case.knobs)
        torch.testing.assert_close(found, torch.full_like(found, case.start), atol=1e-9, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_have_a_finite_loss_and_gradient(name: str, dtype: torch.dtype) -> None:
    """Log-probabilities of 0 and -1e4, scores of +-1e4, probabilities of 0 and 1, in every combination of two."""
    values: dict[str, tuple[float, ...]] = {
        "logp": (0.0, -1e-7, -1e4),
        "count": (1.0, 4096.0),
        "binary": (0.0, 1.0),
        "probability": (0.0, 0.5, 1.0),
        "nonnegative": (0.0, 1e4),
        "real": (-1e4, 0.0, 1e4),
    }
    grid = torch.cartesian_prod(*(torch.tensor(values[QUANTITIES[need].kind], dtype=dtype) for need in needs(name)))
    quantities = dict(zip(needs(name), grid.reshape(len(grid), -1).unbind(1), strict=True))
    assert compute(name, quantities).isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients(name, quantities).values())


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_a_loop_over_its_rows(name: str) -> None:
    quantities = draw(name, 5)
    together = compute(name, quantities)
    alone = [compute(name, {key: value[i : i + 1] for key, value in quantities.items()}) for i in range(5)]
    assert together.shape == (5,)
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize("name", NAMES)
def test_permuting_the_rows_permutes_the_losses(name: str) -> None:
    quantities, order = draw(name, 7), torch.tensor([3, 6, 0, 5, 1, 4, 2])
    permuted = compute(name, {key: value[order] for key, value in quantities.items()})
    assert torch.equal(permuted, compute(name, quantities)[order])


@pytest.mark.parametrize("name", NAMES)
def test_fp32_is_close_to_fp64(name: str) -> None:
    exact = draw(name, 64, dtype=torch.float64)
    rounded = compute(name, {key: value.float() for key, value in exact.items()})
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), compute(name, exact), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_16_bit_inputs_are_computed_in_fp32(name: str) -> None:
    half = draw(name, 8, dtype=torch.bfloat16)
    found = compute(name, half)
    assert found.dtype == torch.float32
    assert torch.equal(found, compute(name, {key: value.float() for key, value in half.items()}))


@pytest.mark.parametrize("name", NAMES)
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    quantities = draw(name, 8, seed=1)
    free = [key for key in needs(name) if QUANTITIES[key].kind in ("logp", "real")]

    def function(*values: Tensor) -> Any:
        return compute(name, {**quantities, **dict(zip(free, values, strict=True))})

    assert torch.autograd.gradcheck(function, [quantities[key].clone().requires_grad_() for key in free])


@pytest.mark.parametrize("name", NAMES)
def test_the_hand_worked_values_are_not_only_trivial(name: str) -> None:
    """Two rows with two different losses: a constant would not pass."""
    cases: list[Case] = CASES[name]
    assert any(len(set(case.expect)) > 1 for case in cases)

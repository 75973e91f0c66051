"""The same tests for every kind of preference model: hand-worked values, and what makes a preference one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from components.contract import Choice
from components.errors import ParamsError
from components.preference_models import PREFERENCE_MODELS, gives, is_scored
from components.preference_models.readings import READ, pair_logits, probability
from components.preference_models.table import READOUTS, READS
from tests.components.preference_models.cases import CASES, ROCK_PAPER_SCISSORS

NAMES = sorted(PREFERENCE_MODELS.rows)
PAIRED = [name for name in NAMES if not is_scored(name)]


def chosen(name: str, **knobs: object) -> Choice:
    """A complete choice of this row."""
    found: Choice = PREFERENCE_MODELS.choose("kind", {"name": name, **knobs})
    return found


def drawn(kind: Choice, n: int, seed: int) -> Tensor:
    """[n, D] random readings of a kind."""
    width = 1 if is_scored(kind.name) else kind.knobs["width"]
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_a_hand_worked_value_and_it_is_met(name: str) -> None:
    for case in CASES[name]:
        given = {key: torch.tensor(value, dtype=torch.float64) for key, value in case.given.items()}
        assert set(given) == set(PREFERENCE_MODELS[name].needs)
        found = PREFERENCE_MODELS.bind(chosen(name, **case.knobs))(**given)
        torch.testing.assert_close(found, torch.tensor(case.expect, dtype=torch.float64), atol=1e-12, rtol=0)


def test_no_hand_worked_value_is_left_over() -> None:
    assert set(CASES) == set(PREFERENCE_MODELS.rows)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_row_takes_is_what_its_readout_gives(name: str) -> None:
    row = PREFERENCE_MODELS[name]
    assert row.facts["reads"] in READS
    padded = [("values", "mask")]
    wanted = {"last": [("values",), ("first", "second")], "every": padded, "segments": padded, "members": [("values",)]}
    assert row.needs in wanted[row.facts["reads"]]
    assert all([row.method, row.source, row.summary])


@pytest.mark.parametrize("name", NAMES)
def test_exchanging_the_two_gives_exactly_the_other_side(name: str) -> None:
    kind = chosen(name)
    a, b = drawn(kind, 2000, 0) * 3, drawn(kind, 2000, 1) * 3
    there, back = pair_logits(kind, a, b), pair_logits(kind, b, a)
    assert torch.equal(there, -back)
    assert (probability(there.numpy()) == 1 - probability(back.numpy())).all()
    assert (probability(pair_logits(kind, a, a).numpy()) == 0.5).all()


@pytest.mark.parametrize("name", PAIRED)
@pytest.mark.parametrize("width", [2, 4, 6, 8])
def test_pairings_of_any_width_are_antisymmetric_in_fp32_too(name: str, width: int) -> None:
    kind = chosen(name, width=width)
    a, b = drawn(kind, 500, 0).float(), drawn(kind, 500, 1).float()
    assert torch.equal(pair_logits(kind, a, b), -pair_logits(kind, b, a))


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_does_not_depend_on_the_pairs_beside_it(name: str) -> None:
    kind = chosen(name)
    a, b = drawn(kind, 9, 0), drawn(kind, 9, 1)
    alone = torch.cat([pair_logits(kind, a[i : i + 1], b[i : i + 1]) for i in range(9)])
    assert torch.equal(pair_logits(kind, a, b), alone)


def test_probabilities_are_sigmoids_and_the_two_sides_add_up_exactly() -> None:
    logits = torch.tensor([0.0, 1.0, 3.7, 40.0, 800.0, 1e-17], dtype=torch.float64)
    p, q = probability(logits.numpy()), probability(-logits.numpy())
    assert p == pytest.approx(torch.sigmoid(logits).tolist())
    assert (q == 1 - p).all()
    assert (p == 1 - q).all()


def test_a_pairing_can_go_round_in_a_circle() -> None:
    """Neighbours at 120 degrees: sin(120) / .1 = 8.66 each way round; no three numbers have such differences."""
    vectors = torch.tensor(ROCK_PAPER_SCISSORS, dtype=torch.float64)
    found = pair_logits(chosen("gpm"), vectors, vectors.roll(-1, 0))
    assert found.tolist() == pytest.approx([8.660254] * 3)


def test_what_a_kind_gives_to_an_objective_follows_from_its_signature() -> None:
    assert gives("scalar") == ("scores", "logits")
    assert gives("gpm") == ("logits",)


def test_every_readout_of_a_network_has_its_function() -> None:
    assert set(READ) == set(READOUTS) == READS.keys() - {"members"}


def test_unknown_kinds_and_odd_widths_are_refused() -> None:
    with pytest.raises(ParamsError, match="Did you mean 'scalar'"):
        chosen("scaler")
    with pytest.raises(ParamsError, match=r"width.*got 3"):
        chosen("gpm", width=3)

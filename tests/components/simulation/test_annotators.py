"""SRC-04: choice frequencies, ties, biases, lapses and label noise of the simulated annotators."""

import math

import numpy as np
import pytest

from components.errors import ParamsError
from components.simulation.annotators import Annotator, choose, panel, probabilities


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize("gap", [-2.0, -0.5, 0.0, 1.0])
def test_without_faults_choices_follow_bradley_terry(gap: float) -> None:
    """20,000 choices match s(beta du) within 4.5 standard errors (one false alarm in 150,000), and nobody ties."""
    rng, person = np.random.default_rng(0), Annotator("x", rationality=1.3)
    choices = [choose(person, gap, 5.0, True, rng) for _ in range(20_000)]
    expected = sigmoid(1.3 * gap)
    error = math.sqrt(expected * (1 - expected) / len(choices))
    assert abs(choices.count("a") / len(choices) - expected) < 4.5 * error
    assert choices.count("tie") == 0


def test_tie_band_by_hand() -> None:
    """d = 1, eta = 0.5: p_w = s(0.5) = 0.62246, p_l = s(-1.5) = 0.18243, p_tie = 1 - 0.80489 = 0.19511."""
    a, b, tie = probabilities(Annotator("x", tie_band=0.5), 1.0, 0.0, True)
    assert (a, b, tie) == pytest.approx((0.62246, 0.18243, 0.19511), abs=1e-5)


def test_lapse_acts_after_the_tie_band() -> None:
    """P(a) = (1 - 0.19511) (0.8 * 0.62246 / 0.80489 + 0.1) = 0.80489 * 0.71868 = 0.57846; p_tie stays."""
    a, b, tie = probabilities(Annotator("x", tie_band=0.5, lapse=0.2), 1.0, 0.0, True)
    assert (a, tie) == pytest.approx((0.57846, 0.19511), abs=1e-5)
    assert a + b + tie == pytest.approx(1.0)


def test_lapse_alone_by_hand() -> None:
    """P(a) = (1 - eps) s(d) + eps / 2 = 0.7 * 0.73106 + 0.15 = 0.66174."""
    assert probabilities(Annotator("x", lapse=0.3), 1.0, 0.0, True)[0] == pytest.approx(0.66174, abs=1e-5)


def test_position_bias_favors_the_first_shown() -> None:
    """At equal utility the answer that is shown first wins with s(b), whichever it is."""
    person = Annotator("x", position_bias=0.8)
    assert probabilities(person, 0.0, 0.0, True)[0] == pytest.approx(sigmoid(0.8))
    assert probabilities(person, 0.0, 0.0, False)[0] == pytest.approx(sigmoid(-0.8))


def test_length_bias_favors_the_longer() -> None:
    assert probabilities(Annotator("x", length_bias=0.1), 0.0, 6.0, True)[0] == pytest.approx(sigmoid(0.6))


def test_label_noise_flips_that_share_of_decisions() -> None:
    """With a certain preference the flip rate is p, as with probability 2p a fair coin decides."""
    rng, person = np.random.default_rng(0), Annotator("x", rationality=1e9, label_noise=0.25)
    flips = sum(choose(person, 1.0, 0.0, True, rng) == "b" for _ in range(20_000)) / 20_000
    assert abs(flips - 0.25) < 4.5 * math.sqrt(0.25 * 0.75 / 20_000)
    assert probabilities(Annotator("x", label_noise=0.5), 3.0, 0.0, True)[0] == pytest.approx(0.5)


def test_full_rationality_always_picks_the_better() -> None:
    for gap in (1e-6, -1e-6):
        assert probabilities(Annotator("x", rationality=1e9), gap, 0.0, True)[0] == pytest.approx(float(gap > 0))


@pytest.mark.parametrize("gap", [-1e6, -30.0, 0.0, 30.0, 1e6])
def test_probabilities_sum_to_one_and_mirror(gap: float) -> None:
    """Swapping the two answers (and so the shown order) swaps the probabilities, even at extremes."""
    person = Annotator("x", 1.1, 0.1, 0.3, 0.05, 0.7, 0.1)
    a, b, tie = probabilities(person, gap, 3.0, True)
    mirrored = probabilities(person, -gap, -3.0, False)
    assert a + b + tie == pytest.approx(1.0)
    assert min(a, b, tie) >= 0.0
    assert mirrored == pytest.approx((b, a, tie))


def test_panel_is_reproducible_and_holds_careless_people() -> None:
    people = panel(12, seed=5, rationality=1.2, careless=1, lapse=0.05, position_bias=0.2)
    assert people == panel(12, seed=5, rationality=1.2, careless=1, lapse=0.05, position_bias=0.2)
    assert people != panel(12, seed=6, rationality=1.2, careless=1, lapse=0.05, position_bias=0.2)
    assert len({person.id for person in people}) == 12
    assert len({person.rationality for person in people}) == 12
    assert [person.lapse > 0.5 for person in people] == [False] * 11 + [True]


@pytest.mark.parametrize(
    "bad", [{"label_noise": 0.6}, {"lapse": -0.1}, {"tie_band": -1.0}, {"rationality": float("inf")}]
)
def test_out_of_range_is_an_error(bad: dict[str, float]) -> None:
    with pytest.raises(ParamsError, match=next(iter(bad))):
        Annotator("x", **bad)


def test_more_careless_people_than_people_is_an_error() -> None:
    with pytest.raises(ParamsError, match="careless"):
        panel(3, seed=0, rationality=1.0, careless=4)

"""KL estimates and rankings from log-probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from components.measures import behaviour, likelihood
from components.statistics import Bootstrap, Estimate

BOOT = Bootstrap(resamples=500, seed=0)


def _kl(policy: list[list[float]], reference: list[list[float]], bootstrap: Bootstrap) -> dict[str, Estimate]:
    ratios = [[a - b for a, b in zip(*pair, strict=True)] for pair in zip(policy, reference, strict=True)]
    functions = (behaviour.kl_sequence_k1, behaviour.kl_token_k1, behaviour.kl_token_k3)
    names = ("kl.sequence_k1", "kl.token_k1", "kl.token_k3")
    return {name: function(ratios, bootstrap) for name, function in zip(names, functions, strict=True)}


def test_identical_policies_have_kl_exactly_zero() -> None:
    logps = [[-1.25, -0.5], [-3.0]]
    for row in _kl(logps, logps, BOOT).values():
        assert (row["value"], row["ci_low"], row["ci_high"]) == (0, None, None)


def test_kl_by_hand() -> None:
    """d = (1, -1) and (2): sums 0 and 2, mean 1; 2 nats over 3 tokens; k3 = (e^-1 + e^1 - 2 + e^-2 + 1) / 3."""
    rows = _kl([[-1.0, -2.0], [-1.0]], [[-2.0, -1.0], [-3.0]], BOOT)
    assert rows["kl.sequence_k1"]["value"] == 1.0
    assert rows["kl.token_k1"]["value"] == pytest.approx(2 / 3)
    assert rows["kl.token_k3"]["value"] == pytest.approx((np.exp(-1) + np.exp(1) - 2 + np.exp(-2) + 1) / 3)


def test_estimates_cover_the_exact_kl_of_a_toy_policy() -> None:
    """Four tokens drawn independently: exact KL per sequence = 4 sum p log(p/q), per token a fourth of it."""
    p, q = np.array([0.6, 0.3, 0.1]), np.array([0.2, 0.5, 0.3])
    exact = float((p * np.log(p / q)).sum())
    tokens = np.random.default_rng(0).choice(3, size=(4000, 4), p=p)
    rows = _kl(np.log(p)[tokens].tolist(), np.log(q)[tokens].tolist(), BOOT)
    assert rows["kl.sequence_k1"]["value"] == pytest.approx(4 * exact, rel=0.05)
    assert rows["kl.token_k1"]["value"] == pytest.approx(exact, rel=0.05)
    assert rows["kl.token_k3"]["value"] == pytest.approx(exact, rel=0.05)
    assert rows["kl.sequence_k1"]["ci_low"] < 4 * exact < rows["kl.sequence_k1"]["ci_high"]


def test_k3_is_never_negative_where_k1_is() -> None:
    rows = _kl([[-2.0], [-2.5]], [[-1.0], [-1.0]], BOOT)
    assert rows["kl.token_k1"]["value"] < 0 < rows["kl.token_k3"]["value"]


def test_ranking_compares_differences_not_ratios() -> None:
    """Log-probabilities are negative: -10 is likelier than -20, whatever the ratio -10 / -20 looks like."""
    assert likelihood.ranked_right([-10.0, -20.0, -5.0], [-20.0, -10.0, -5.0]) == [1.0, 0.0, 0.5]


def test_the_implicit_reward_of_the_reference_itself_ties_everywhere() -> None:
    chosen, rejected = [-4.0, -9.0], [-5.0, -2.0]
    ratios = likelihood.log_ratios(chosen, chosen), likelihood.log_ratios(rejected, rejected)
    assert likelihood.ranked_right(*ratios) == [0.5, 0.5]


def test_the_implicit_reward_can_rank_against_the_likelihood() -> None:
    """Chosen -8 against rejected -6, but the reference has -10 and -5: log ratios 2 and -1."""
    ratios = likelihood.log_ratios([-8.0], [-10.0]), likelihood.log_ratios([-6.0], [-5.0])
    assert ratios == ([2.0], [-1.0])
    assert likelihood.ranked_right([-8.0], [-6.0]) == [0.0]
    assert likelihood.ranked_right(*ratios) == [1.0]

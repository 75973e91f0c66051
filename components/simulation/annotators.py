"""Simulated annotators (SRC-04): people whose choices follow the known utility, with faults that can be set.

With signed logit d = beta (u_a - u_b) + lambda (len_a - len_b) + b (+ if a is shown first, - if b is):

    p_w = s(d - eta), p_l = s(-d - eta), p_tie = 1 - p_w - p_l        tie band of Rao and Kupper (1967)
    P(a) = (1 - p_tie) [(1 - eps) p_w / (p_w + p_l) + eps / 2]        lapses: an eps share of decisions is a coin flip
    label noise p: with probability 2p the label is replaced by a fair coin, which flips a decision with probability p

s is the logistic function. With all faults off P(a) = s(beta (u_a - u_b)), the Bradley-Terry model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from components.errors import ParamsError

Outcome = Literal["a", "b", "tie"]


@dataclass(frozen=True)
class Annotator:
    """One simulated person."""

    id: str
    rationality: float = 1.0
    """beta in [0, 1e9]: how sharply choices follow the utility; large = always the better one"""
    lapse: float = 0.0
    """eps in [0, 1]: the share of decisions taken without looking"""
    position_bias: float = 0.0
    """b: added to the logit of the answer that is shown first"""
    length_bias: float = 0.0
    """lambda: added to the logit per word that an answer is longer"""
    tie_band: float = 0.0
    """eta in [0, 20]: 0 means no ties"""
    label_noise: float = 0.0
    """p in [0, 0.5]: the share of decisions that get flipped"""

    def __post_init__(self) -> None:
        ranges = {
            "rationality": (0.0, 1e9),
            "lapse": (0.0, 1.0),
            "tie_band": (0.0, 20.0),
            "label_noise": (0.0, 0.5),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ParamsError(f"annotator {self.id}.{name}: must be in [{low:g}, {high:g}] (got {value}). Fix it.")


def _sigmoid(x: float) -> float:
    return float(np.exp(-np.logaddexp(0.0, -x)))


def probabilities(
    annotator: Annotator, utility_gap: float, length_gap: float, a_first: bool
) -> tuple[float, float, float]:
    """(P(a), P(b), P(tie)) for utility_gap = u_a - u_b and length_gap = len_a - len_b in words (SRC-04)."""
    logit = annotator.rationality * utility_gap + annotator.length_bias * length_gap
    logit += annotator.position_bias if a_first else -annotator.position_bias
    win, loss = _sigmoid(logit - annotator.tie_band), _sigmoid(-logit - annotator.tie_band)
    tie = win * loss * float(np.expm1(2.0 * annotator.tie_band))  # = 1 - win - loss without cancellation
    decided = _sigmoid(logit) if annotator.tie_band == 0.0 else win / (win + loss)
    first = (1.0 - annotator.lapse) * decided + annotator.lapse / 2.0
    keep, coin = 1.0 - 2.0 * annotator.label_noise, annotator.label_noise
    a = keep * (1.0 - tie) * first + coin
    return a, 1.0 - a - keep * tie, keep * tie


def choose(
    annotator: Annotator, utility_gap: float, length_gap: float, a_first: bool, rng: np.random.Generator
) -> Outcome:
    """One choice; reads exactly one number from `rng`."""
    a, b, _ = probabilities(annotator, utility_gap, length_gap, a_first)
    draw = rng.random()
    if draw < a:
        return "a"
    return "b" if draw < a + b else "tie"


def panel(
    size: int,
    *,
    seed: int,
    rationality: float,
    careless: int = 0,
    lapse: float = 0.0,
    position_bias: float = 0.0,
    length_bias: float = 0.0,
    tie_band: float = 0.0,
    label_noise: float = 0.0,
) -> list[Annotator]:
    """`size` annotators of differing reliability; the last `careless` of them choose almost without looking.

    Rationality varies by a log-normal factor (sigma 0.3) around `rationality`, and each one's lapses and biases by a
    uniform factor between 0.5 and 1.5 around the given ones. Careless ones lapse in 90 % of decisions.
    """
    if not 0 <= careless <= size:
        raise ParamsError(f"panel.careless: must be between 0 and the panel's size {size} (got {careless}). Lower it.")
    rng, people = np.random.default_rng([seed, 2]), []
    for number in range(size):
        own = np.exp(0.3 * rng.standard_normal())
        habits = rng.uniform(0.5, 1.5, size=3)
        people.append(
            Annotator(
                id=f"sim-{number + 1:02d}",
                rationality=float(rationality * own),
                lapse=0.9 if number >= size - careless else min(1.0, float(lapse * habits[0])),
                position_bias=float(position_bias * habits[1]),
                length_bias=float(length_bias * habits[2]),
                tie_band=tie_band,
                label_noise=label_noise,
            )
        )
    return people

"""Hand-worked values of every objective. A row of the catalogue without an entry here fails the battery.

Unless said otherwise the numbers are fixture F1 of the method specification: S_w = [-10, -20], S_l = [-12, -18],
R_w = [-11, -19], R_l = [-11.5, -18.5], n_w = [5, 8], n_l = [6, 4], so that
    a = S_w - R_w = [1, -1],  b = S_l - R_l = [-0.5, 0.5],  h = a - b = [1.5, -1.5].
log1p(exp(-x)) is written softplus(-x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    """Two rows of quantities and the loss of each, at `knobs`. `start`: the loss where policy equals reference."""

    given: dict[str, list[float]]
    expect: list[float]
    knobs: dict[str, float] = field(default_factory=dict)
    start: float | None = None


SUMS = {"chosen_logps": [-10.0, -20.0], "rejected_logps": [-12.0, -18.0]}
REFERENCE = {"chosen_ref_logps": [-11.0, -19.0], "rejected_ref_logps": [-11.5, -18.5]}
LENGTHS = {"chosen_lengths": [5.0, 8.0], "rejected_lengths": [6.0, 4.0]}
SCORES = {"chosen_scores": [2.0, 1.0], "rejected_scores": [0.5, 0.8]}  # d = [1.5, 0.2]

CASES: dict[str, list[Case]] = {
    "sft": [
        # -S/n: 10/5 = 2 and 20/8 = 2.5
        Case({"completion_logps": [-10.0, -20.0], "completion_lengths": [5.0, 8.0]}, [2.0, 2.5]),
    ],
    "dpo": [
        # beta h = [.15, -.15]; softplus(-.15) = log(1.860708) = .620957; softplus(.15) = log(2.161834) = .770957
        Case({**SUMS, **REFERENCE}, [0.620957, 0.770957], start=math.log(2)),
        # beta h = [.75, -.75]; log(1 + .472367) = .386871; log(1 + 2.117) = 1.136871
        Case({**SUMS, **REFERENCE}, [0.386871, 1.136871], {"beta": 0.5}, start=math.log(2)),
    ],
    "ipo": [
        # target 1/(2 * .1) = 5; row 1: 1/5 + .5/6 - 5 = -4.716667, squared 22.246944
        # row 2: -1/8 - .5/4 - 5 = -5.25, squared 27.5625; with no log-ratio: 5^2
        Case({**SUMS, **REFERENCE, **LENGTHS}, [22.246944, 27.5625], start=25.0),
    ],
    "ipo_sum": [
        # (1.5 - 5)^2 = 12.25; (-1.5 - 5)^2 = 42.25
        Case({**SUMS, **REFERENCE}, [12.25, 42.25], start=25.0),
    ],
    "orpo": [
        # row 1: m = -2 and -2: log odds ratio 0, so 2 + .1 log 2 = 2.069315
        # row 2: m = -2.5 and -4.5; log(1-exp(-2.5)) = -.085652, log(1-exp(-4.5)) = -.011171;
        #        ratio 2 + .074481 = 2.074481;
        #        2.5 + .1 softplus(-2.074481) = 2.5 + .1 * .118341 = 2.511834
        Case({**SUMS, **LENGTHS}, [2.069315, 2.511834]),
    ],
    "kto": [
        # z0 = 0, desirable: 1 - sigmoid(.1 * [1, -1]) = sigmoid([-.1, .1])
        Case(
            {
                "completion_logps": [-10.0, -20.0],
                "completion_ref_logps": [-11.0, -19.0],
                "desirable": [1.0, 1.0],
                "reference_kl": [0.0, 0.0],
            },
            [0.475021, 0.524979],
            start=0.5,
        ),
        # undesirable, log-ratio [-.5, .5], z0 = .5, weight 2: 2 sigmoid(.1 * [-1, 0]) = [2 * .475021, 2 * .5]
        Case(
            {
                "completion_logps": [-12.0, -18.0],
                "completion_ref_logps": [-11.5, -18.5],
                "desirable": [0.0, 0.0],
                "reference_kl": [0.5, 0.5],
            },
            [0.950042, 1.0],
            {"undesirable_weight": 2.0},
            start=1.0,
        ),
    ],
    "bradley_terry": [
        # softplus(-1.5) = log(1.223130) = .201413; softplus(-.2) = log(1.818731) = .598139
        Case(SCORES, [0.201413, 0.598139]),
        # + .01 * (2.5^2, 1.8^2) = + (.0625, .0324)
        Case(SCORES, [0.263913, 0.630539], {"centering": 0.01}),
    ],
    "bradley_terry_soft": [
        # p = [1, .5]: row 1 is .201413; row 2: (.598139 + .798139) / 2 = .698139
        Case({**SCORES, "preference_probability": [1.0, 0.5]}, [0.201413, 0.698139]),
    ],
    "bradley_terry_margin": [
        # d - m = [1.5 - 1.5, .2 - 0] : log 2 and .598139
        Case({**SCORES, "margin": [1.5, 0.0]}, [0.693147, 0.598139]),
        # scale 2: d - 2 m = -1.5 : softplus(1.5) = 1.701413
        Case({**SCORES, "margin": [1.5, 0.0]}, [1.701413, 0.598139], {"scale": 2.0}),
    ],
    "general_preference": [
        # softplus(-1.5) = .201413 and softplus(-.2) = .598139, as for the differences of SCORES
        Case({"pair_logits": [1.5, 0.2]}, [0.201413, 0.598139]),
    ],
    "general_preference_soft": [
        # as bradley_terry_soft on SCORES
        Case({"pair_logits": [1.5, 0.2], "preference_probability": [1.0, 0.5]}, [0.201413, 0.698139]),
    ],
}

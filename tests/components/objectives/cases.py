"""Hand-worked values of every objective. A row of the catalogue without an entry here fails the battery.

Unless said otherwise the numbers are fixture F1 of the method specification: S_w = [-10, -20], S_l = [-12, -18],
R_w = [-11, -19], R_l = [-11.5, -18.5], n_w = [5, 8], n_l = [6, 4], so that
    a = S_w - R_w = [1, -1],  b = S_l - R_l = [-0.5, 0.5],  h = a - b = [1.5, -1.5].
log1p(exp(-x)) is written softplus(-x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """Two rows of quantities and the loss of each, at `knobs`. `start`: the loss(es) where policy equals reference.

    Quantities with more axes are nested lists, padded; masks are written as 0 and 1.
    """

    given: dict[str, list[Any]]
    expect: list[float]
    knobs: dict[str, float] = field(default_factory=dict)
    start: float | list[float] | None = None


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
    "simpo": [
        # row 1: 2 (-2 + 2) - 1 = -1: softplus(1) = 1.313262; row 2: 2 (-2.5 + 4.5) - 1 = 3: softplus(-3) = .048587
        Case({**SUMS, **LENGTHS}, [1.313262, 0.048587]),
    ],
    "plackett_luce": [
        # s = [1, .2, -.5]: logsumexp 1.514295 - 1 = .514295; logsumexp(.2, -.5) = .603186 - .2 = .403186; sum .917481
        # row 2: two sequences, s = [.3, .1] (the third is padding): softplus(-.2) = .598139
        Case(
            {
                "listed_logps": [[-9.0, -9.8, -10.5], [-1.7, -1.9, 7.0]],
                "listed_ref_logps": [[-10.0, -10.0, -10.0], [-2.0, -2.0, 3.0]],
                "listed_tiers": [[0, 1, 2], [0, 1, 0]],
                "listed_mask": [[1, 1, 1], [1, 1, 0]],
            },
            [0.917481, 0.598139],
            {"beta": 1.0},
            start=[math.log(6), math.log(2)],
        ),
        # tied best: 2 logsumexp(1, .2, -.5) - 1.2; tied worst: logsumexp - 1
        Case(
            {
                "listed_logps": [[1.0, 0.2, -0.5], [1.0, 0.2, -0.5]],
                "listed_ref_logps": [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
                "listed_tiers": [[0, 0, 1], [0, 1, 1]],
                "listed_mask": [[1, 1, 1], [1, 1, 1]],
            },
            [1.828590, 0.514295],
            {"beta": 1.0},
            start=[2 * math.log(3), math.log(3)],
        ),
    ],
    "unlikelihood": [
        # row 1: w tokens -1, -2: 1.5; l token p = .25: -log(.75) = .287682
        # row 2: w token -1: 1; l tokens p = .25 and .5: (.287682 + .693147) / 2 = .490415
        Case(
            {
                "chosen_token_logps": [[-1.0, -2.0], [-1.0, 3.0]],
                "chosen_token_mask": [[1, 1], [1, 0]],
                "rejected_token_logps": [[math.log(0.25), 3.0], [math.log(0.25), math.log(0.5)]],
                "rejected_token_mask": [[1, 0], [1, 1]],
            },
            [1.787682, 1.490415],
        ),
        # alpha 2
        Case(
            {
                "chosen_token_logps": [[-1.0, -2.0], [-1.0, 3.0]],
                "chosen_token_mask": [[1, 1], [1, 0]],
                "rejected_token_logps": [[math.log(0.25), 3.0], [math.log(0.25), math.log(0.5)]],
                "rejected_token_mask": [[1, 0], [1, 1]],
            },
            [2.075364, 1.980829],
            {"alpha": 2.0},
        ),
    ],
    "tdpo2": [
        # fixture F4, one token, V = 2, ref .5/.5, pi_w(y) = .7, pi_l(y) = .6: h = log(.7/.5) - log(.6/.5) = .154151;
        # D_w = .5 log(.5/.7) + .5 log(.5/.3) = .087177, D_l = .5 log(.5/.6) + .5 log(.5/.4) = .020411;
        # h - .5 (D_l - D_w) = .187534: softplus(-.0187534) = .683814
        # row 2: h = -1.5, D_w = .2 + .3, D_l = 1 (+ padding): -1.5 - .5 * .5 = -1.75: softplus(.175) = .784470
        Case(
            {
                "chosen_logps": [math.log(0.7), -20.0],
                "rejected_logps": [math.log(0.6), -18.0],
                "chosen_ref_logps": [math.log(0.5), -19.0],
                "rejected_ref_logps": [math.log(0.5), -18.5],
                "chosen_vocab_kl": [[0.087177, 5.0], [0.2, 0.3]],
                "chosen_token_mask": [[1, 0], [1, 1]],
                "rejected_vocab_kl": [[0.020411, 5.0], [1.0, 5.0]],
                "rejected_token_mask": [[1, 0], [1, 0]],
            },
            [0.683814, 0.784470],
            start=math.log(2),
        ),
    ],
    "bco": [
        # beta (lr - mean) = .1 ([1, -1] - .5) = [.05, -.15]: softplus(-.05) = .668460, softplus(.15) = .770957
        Case(
            {
                "completion_logps": [-10.0, -20.0],
                "completion_ref_logps": [-11.0, -19.0],
                "desirable": [1.0, 1.0],
                "mean_log_ratio": [0.5, 0.5],
            },
            [0.668460, 0.770957],
            start=math.log(2),
        ),
        # undesirable: softplus(.05), softplus(-.15)
        Case(
            {
                "completion_logps": [-10.0, -20.0],
                "completion_ref_logps": [-11.0, -19.0],
                "desirable": [0.0, 0.0],
                "mean_log_ratio": [0.5, 0.5],
            },
            [0.718460, 0.620957],
            start=math.log(2),
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

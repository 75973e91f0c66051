"""Objectives on pairs with a reference model. Tensors are [B]; the result is one loss per pair.

`h` is how much more the policy prefers the chosen to the rejected completion than the reference does (nats).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from components.contract.ranges import Positive
from components.objectives import rewards
from components.objectives.claims import Reduction, decreases, increases
from components.objectives.numerics import token_mean
from components.objectives.table import OBJECTIVES


@OBJECTIVES.row(
    family="policy",
    view="pair",
    method="PO-01",
    source="Rafailov et al. 2023, Direct Preference Optimization, eq. 7",
    equation="-log sigmoid(beta h)",
    reward=rewards.log_ratio,
    claims=(
        decreases("chosen_logps", "rejected_ref_logps"),
        increases("rejected_logps", "chosen_ref_logps"),
        Reduction(
            "bradley_terry",
            knobs={"beta": 1.0},
            given={"chosen_ref_logps": 0.0, "rejected_ref_logps": 0.0},
            rename={"chosen_scores": "chosen_logps", "rejected_scores": "rejected_logps"},
        ),
    ),
)
def dpo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_ref_logps: Tensor,
    rejected_ref_logps: Tensor,
    *,
    beta: Positive = 0.1,
) -> Tensor:
    """-log sigmoid(beta h): logistic regression of the preference on the implicit reward difference."""
    h = (chosen_logps - chosen_ref_logps) - (rejected_logps - rejected_ref_logps)
    return -F.logsigmoid(beta * h)


@OBJECTIVES.row(
    family="policy",
    view="pair",
    method="PO-04",
    source="Azar et al. 2024, A General Theoretical Paradigm (IPO), eq. 17",
    equation="(a / n_w - b / n_l - 1 / (2 beta))^2",
    reward=rewards.mean_log_ratio,
    claims=(Reduction("ipo_sum", given={"chosen_lengths": 1.0, "rejected_lengths": 1.0}),),
    departures="Log-ratios per token instead of summed, as TRL and HALOs do. beta is the paper's tau.",
)
def ipo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_ref_logps: Tensor,
    rejected_ref_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: Positive = 0.1,
) -> Tensor:
    """(h - 1 / (2 beta))^2 with h from log-ratios per token, so that long completions need no larger ratio."""
    chosen = token_mean(chosen_logps - chosen_ref_logps, chosen_lengths)
    rejected = token_mean(rejected_logps - rejected_ref_logps, rejected_lengths)
    return (chosen - rejected - 1 / (2 * beta)) ** 2


@OBJECTIVES.row(
    family="policy",
    view="pair",
    method="PO-04",
    source="Azar et al. 2024, A General Theoretical Paradigm (IPO), eq. 17",
    equation="(h - 1 / (2 beta))^2",
    reward=rewards.log_ratio,
    departures="beta is the paper's tau.",
)
def ipo_sum(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_ref_logps: Tensor,
    rejected_ref_logps: Tensor,
    *,
    beta: Positive = 0.1,
) -> Tensor:
    """(h - 1 / (2 beta))^2 with h from summed log-ratios, as the paper writes it."""
    h = (chosen_logps - chosen_ref_logps) - (rejected_logps - rejected_ref_logps)
    return (h - 1 / (2 * beta)) ** 2

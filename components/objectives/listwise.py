"""Objectives on lists with a reference model. Tensors are [B, K] with a mask; the result is one loss per list.

`s_i` is beta times the log-ratio of sequence i (nats): how much more the policy likes it than the reference does.
"""

from __future__ import annotations

import torch
from torch import Tensor

from components.contract.ranges import Positive
from components.objectives import rewards
from components.objectives.claims import Reduction
from components.objectives.numerics import masked_sum
from components.objectives.table import OBJECTIVES

_NOTHING = -1e30  # a logit whose exp is 0, and whose gradient is 0 and not NaN where a whole row is masked


@OBJECTIVES.row(
    family="policy",
    view="list",
    method="PO-43",
    source="Rafailov et al. 2023, DPO, app. A.3 (Plackett 1975; Luce 1959); ties: Breslow 1974",
    equation="sum over tiers but the last, over i in the tier: logsumexp of s over this and later tiers, minus s_i",
    reward=rewards.log_ratio,
    claims=(
        Reduction(
            "dpo",
            given={"listed_tiers": (0.0, 1.0), "listed_mask": 1.0},
            rename={
                "chosen_logps": "listed_logps[0]",
                "rejected_logps": "listed_logps[1]",
                "chosen_ref_logps": "listed_ref_logps[0]",
                "rejected_ref_logps": "listed_ref_logps[1]",
            },
        ),
    ),
    departures="A tier invents no order: each of its members is chosen before all of it and of what comes later.",
)
def plackett_luce(
    listed_logps: Tensor, listed_ref_logps: Tensor, listed_tiers: Tensor, listed_mask: Tensor, *, beta: Positive = 0.1
) -> Tensor:
    """Negative log-likelihood of drawing the list best first, each time by softmax over what is left."""
    s = torch.where(listed_mask, beta * (listed_logps - listed_ref_logps), _NOTHING)
    left = listed_mask[:, None, :] & (listed_tiers[:, None, :] >= listed_tiers[:, :, None])  # [B, i, j]: j after i
    total = torch.where(left, s[:, None, :], _NOTHING).logsumexp(-1)
    last = torch.where(listed_mask, listed_tiers, -1.0).amax(-1, keepdim=True)
    return masked_sum(total - s, listed_mask & (listed_tiers < last))

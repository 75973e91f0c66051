"""Objectives that look at single tokens. Tensors are [B, T] with a mask, or [B]; the result is one loss per pair."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from components.contract.ranges import NonNegative, Positive
from components.objectives import rewards
from components.objectives.claims import Reduction, decreases, increases
from components.objectives.numerics import log1mexp, masked_mean, masked_sum
from components.objectives.table import OBJECTIVES


@OBJECTIVES.row(
    family="policy",
    view="pair",
    method="PO-35",
    source="Welleck et al. 2020, Unlikelihood Training, eq. 4; Korbak et al. 2023, Pretraining with Human Preferences",
    equation="mean over tokens of w: -lp_t; plus alpha times mean over tokens of l: -log(1 - exp(lp_t))",
    claims=(decreases("chosen_token_logps"), increases("rejected_token_logps")),
    departures="Each completion by its own token mean; p is kept 1e-7 away from 1, where the loss has no bound.",
)
def unlikelihood(
    chosen_token_logps: Tensor,
    chosen_token_mask: Tensor,
    rejected_token_logps: Tensor,
    rejected_token_mask: Tensor,
    *,
    alpha: NonNegative = 1.0,
) -> Tensor:
    """Likelihood of the tokens of the chosen completion, unlikelihood of those of the rejected one."""
    likely = masked_mean(-chosen_token_logps, chosen_token_mask)
    return likely + alpha * masked_mean(-log1mexp(rejected_token_logps), rejected_token_mask)


@OBJECTIVES.row(
    family="policy",
    view="pair",
    method="PO-61",
    source="Zeng et al. 2024, Token-level Direct Preference Optimization, eq. 18 (TDPO2)",
    equation="-log sigmoid(beta (h - alpha (D_l - D_w))), D the sum over tokens of KL(ref || policy), D_w constant",
    reward=rewards.log_ratio,
    claims=(
        decreases("chosen_logps", "rejected_ref_logps"),
        increases("rejected_logps", "chosen_ref_logps", "rejected_vocab_kl"),
        Reduction("dpo", knobs={"alpha": 0.0}),
    ),
)
def tdpo2(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_ref_logps: Tensor,
    rejected_ref_logps: Tensor,
    chosen_vocab_kl: Tensor,
    chosen_token_mask: Tensor,
    rejected_vocab_kl: Tensor,
    rejected_token_mask: Tensor,
    *,
    beta: Positive = 0.1,
    alpha: NonNegative = 0.5,
) -> Tensor:
    """DPO that also keeps the divergence on the rejected completion no larger than on the chosen one."""
    h = (chosen_logps - chosen_ref_logps) - (rejected_logps - rejected_ref_logps)
    chosen = masked_sum(chosen_vocab_kl, chosen_token_mask).detach()
    return -F.logsigmoid(beta * (h - alpha * (masked_sum(rejected_vocab_kl, rejected_token_mask) - chosen)))

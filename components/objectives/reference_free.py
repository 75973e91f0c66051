"""Objectives on pairs without a reference model. Tensors are [B]; the result is one loss per pair."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from components.contract.ranges import NonNegative, Positive
from components.objectives import rewards
from components.objectives.claims import Reduction, decreases, increases
from components.objectives.numerics import log1mexp, token_mean
from components.objectives.table import OBJECTIVES


@OBJECTIVES.row(
    family="policy",
    view="pair",
    reward=rewards.log_odds,
    method="PO-33",
    source="Hong et al. 2024, ORPO, eq. 6-7",
    equation="-m_w - lam log sigmoid((m_w - m_l) - (log1mexp(m_w) - log1mexp(m_l))), m = S / n",
    claims=(
        decreases("chosen_logps"),
        increases("rejected_logps"),
        Reduction(
            "sft",
            knobs={"lam": 0.0},
            rename={"completion_logps": "chosen_logps", "completion_lengths": "chosen_lengths"},
        ),
    ),
    departures="The NLL covers the completion only; released code covers the prompt too. lam is TRL's beta.",
)
def orpo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    lam: NonNegative = 0.1,
) -> Tensor:
    """NLL of the chosen completion per token, plus lam * -log sigmoid(log odds ratio).

    With m the mean log-probability of a token: log odds = m - log(1 - exp(m)).
    """
    chosen, rejected = token_mean(chosen_logps, chosen_lengths), token_mean(rejected_logps, rejected_lengths)
    log_odds_ratio = (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))
    return -chosen - lam * F.logsigmoid(log_odds_ratio)


@OBJECTIVES.row(
    family="policy",
    view="pair",
    method="PO-32",
    source="Meng et al. 2024, SimPO, eq. 6",
    equation="-log sigmoid(beta (S_w / n_w - S_l / n_l) - gamma)",
    reward=rewards.mean_logp,
    claims=(
        decreases("chosen_logps"),
        increases("rejected_logps"),
        Reduction(
            "dpo",
            knobs={"gamma": 0.0, "beta": 0.1},
            given={"chosen_lengths": 1.0, "rejected_lengths": 1.0},
            supply={"chosen_ref_logps": -3.0, "rejected_ref_logps": -3.0},
        ),
    ),
    departures="gamma is the margin itself, as in TRL; the authors' code takes gamma / beta.",
)
def simpo(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    chosen_lengths: Tensor,
    rejected_lengths: Tensor,
    *,
    beta: Positive = 2.0,
    gamma: NonNegative = 1.0,
) -> Tensor:
    """-log sigmoid(beta times the difference of mean token log-probabilities, minus a margin)."""
    chosen, rejected = token_mean(chosen_logps, chosen_lengths), token_mean(rejected_logps, rejected_lengths)
    return -F.logsigmoid(beta * (chosen - rejected) - gamma)

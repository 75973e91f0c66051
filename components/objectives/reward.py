"""Objectives that fit a reward model on pairs. Tensors are [B]; the result is one loss per pair.

`d` is the difference of rewards, chosen minus rejected; sigmoid(d) is the modelled P(chosen is preferred).
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from components.contract.ranges import NonNegative
from components.objectives.claims import Reduction, decreases, increases
from components.objectives.table import OBJECTIVES


@OBJECTIVES.row(
    family="reward",
    view="pair",
    method="RM-01",
    source="Bradley and Terry 1952; Ouyang et al. 2022, InstructGPT, eq. 1; centering: Eisenstein et al. 2023",
    equation="-log sigmoid(r_w - r_l) + centering (r_w + r_l)^2",
    claims=(decreases("chosen_scores"), increases("rejected_scores")),
)
def bradley_terry(chosen_scores: Tensor, rejected_scores: Tensor, *, centering: NonNegative = 0.0) -> Tensor:
    """-log sigmoid(d) + centering * (chosen + rejected)^2; the second term fixes the free offset of the rewards."""
    loss = -F.logsigmoid(chosen_scores - rejected_scores)
    return loss + centering * (chosen_scores + rejected_scores) ** 2


@OBJECTIVES.row(
    family="reward",
    view="pair",
    method="RM-03",
    source="Lee et al. 2023, RLAIF (soft labels)",
    equation="-p log sigmoid(r_w - r_l) - (1 - p) log sigmoid(r_l - r_w)",
    claims=(
        decreases("chosen_scores", preference_probability=1),
        increases("rejected_scores", preference_probability=1),
        Reduction("bradley_terry", given={"preference_probability": 1.0}),
    ),
)
def bradley_terry_soft(chosen_scores: Tensor, rejected_scores: Tensor, preference_probability: Tensor) -> Tensor:
    """-p log sigmoid(d) - (1 - p) log sigmoid(-d): cross-entropy against a soft label; smallest at d = logit(p)."""
    d = chosen_scores - rejected_scores
    return -preference_probability * F.logsigmoid(d) - (1 - preference_probability) * F.logsigmoid(-d)


@OBJECTIVES.row(
    family="reward",
    view="pair",
    method="RM-04",
    source="Touvron et al. 2023, Llama 2, eq. 2",
    equation="-log sigmoid(r_w - r_l - scale margin)",
    revision=2,
    claims=(
        decreases("chosen_scores"),
        increases("rejected_scores", "margin"),
        Reduction("bradley_terry", given={"margin": 0.0}),
        Reduction("bradley_terry", knobs={"scale": 0.0}),
    ),
    departures="The margin is the strength, a share of its scale, times `scale`; the paper has one for each level.",
)
def bradley_terry_margin(
    chosen_scores: Tensor, rejected_scores: Tensor, margin: Tensor, *, scale: NonNegative = 1.0
) -> Tensor:
    """-log sigmoid(d - scale * margin): stronger preferences ask for a larger difference."""
    return -F.logsigmoid(chosen_scores - rejected_scores - scale * margin)

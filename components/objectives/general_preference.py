"""Objectives that fit any preference model on pairs. Tensors are [B]; the result is one loss per pair.

`pair_logits` is the model's log-odds that the chosen completion is preferred, whatever kind of model it is: a
difference of rewards, or something that no difference of rewards can say.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from components.objectives.claims import Reduction, decreases
from components.objectives.table import OBJECTIVES


@OBJECTIVES.row(
    family="reward",
    view="pair",
    method="RM-38",
    source="Zhang et al. 2024, General Preference Modeling with Preference Representations",
    equation="-log sigmoid(s(w, l))",
    claims=(decreases("pair_logits"),),
    departures="The temperature belongs to the model (s is its logit), so that what is trained is what is asked later.",
)
def general_preference(pair_logits: Tensor) -> Tensor:
    """-log sigmoid(s): cross-entropy of the modelled P(chosen is preferred) against a hard label."""
    return -F.logsigmoid(pair_logits)


@OBJECTIVES.row(
    family="reward",
    view="pair",
    method=("RM-38", "RM-03"),
    source="Zhang et al. 2024 with the soft labels of Lee et al. 2023, RLAIF",
    equation="-p log sigmoid(s(w, l)) - (1 - p) log sigmoid(-s(w, l))",
    claims=(
        decreases("pair_logits", preference_probability=1),
        Reduction("general_preference", given={"preference_probability": 1.0}),
    ),
)
def general_preference_soft(pair_logits: Tensor, preference_probability: Tensor) -> Tensor:
    """-p log sigmoid(s) - (1 - p) log sigmoid(-s): the same against a soft label; smallest at s = logit(p)."""
    return -preference_probability * F.logsigmoid(pair_logits) - (1 - preference_probability) * F.logsigmoid(
        -pair_logits
    )

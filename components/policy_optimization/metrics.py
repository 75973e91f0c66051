"""What is logged and returned, under the names of TRL, of quantities alone; rewards are what the objective states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.objectives import BATCH_STATISTICS, Objective, Quantity, parse
from components.sequences import VIEWS
from components.statistics import estimate

Quantities = Mapping[str, Tensor]
Values = Mapping[str, np.ndarray]


def wanted(objective: Objective) -> tuple[Quantity, ...]:
    """What is computed for an objective and its log: its needs, sums and lengths of every role, what was given."""
    facts = VIEWS[objective.view].facts
    names = [f"{role}_{measure}" for role in facts["roles"] for measure in ("logps", "lengths")] + list(facts["given"])
    names += [f"{role}_mask" for role, count in facts["roles"].items() if count == "many"]
    return tuple(dict.fromkeys([*objective.needs, *(parse(name, objective.view) for name in names)]))


def report(quantities: Quantities, objective: Objective) -> dict[str, Tensor]:
    """Each metric as one number per example ([B] float64); NaN where it does not apply (another class, a tie)."""
    names = [need.name for need in wanted(objective) if "T" not in need.axes]
    known = {name: quantities[name].detach() for name in names}
    known = {name: value.double() if value.is_floating_point() else value for name, value in known.items()}
    batch = [BATCH_STATISTICS[need.name] for need in objective.needs if need.source == "batch"]
    found = {row.facts.get("logged", row.name): known[row.name] for row in batch}
    return found | _logps(known) | _rewards(known, objective.rewards(known))


def _logps(known: Quantities) -> dict[str, Tensor]:
    """Of every role that is there once; of a labelled completion by its label."""
    found = {}
    for role in ("chosen", "rejected", "completion"):
        logps = known.get(f"{role}_logps")
        if logps is None:
            continue
        for name, applies in _sides(role, known):
            found[f"logps/{name}"] = _where(applies, logps)
        if role != "rejected" and "desirable" not in known:
            found["nll_loss"] = -logps / known[f"{role}_lengths"]
        if role == "chosen" and "chosen_ref_logps" in known:
            found["logratio/chosen_down"] = (logps < known["chosen_ref_logps"]).double()
    return found


def _rewards(known: Quantities, rewards: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if "listed" in rewards:
        return _of_list(rewards["listed"], known)
    found = {}
    for role, values in rewards.items():
        for name, applies in _sides(role, known):
            found[f"rewards/{name}"] = _where(applies, values)
    if {"chosen", "rejected"} <= rewards.keys():
        margins = rewards["chosen"] - rewards["rejected"]
        decided = known["preference_probability"] != 0.5
        found["rewards/margins"] = margins
        found["rewards/accuracies"] = _where(decided, (margins.sign() + 1) / 2)  # a tie of rewards counts 0.5
    return found


def _of_list(rewards: Tensor, known: Quantities) -> dict[str, Tensor]:
    """Best tier as chosen, the others as rejected; accuracy over all pairs of different tiers (ties count 0.5)."""
    mask, tiers = known["listed_mask"], known["listed_tiers"]
    best = mask & (tiers == 0)
    chosen, rejected = _mean(rewards, best), _mean(rewards, mask & (tiers > 0))
    pairs = mask[:, :, None] & mask[:, None, :] & (tiers[:, :, None] < tiers[:, None, :])
    right = ((rewards[:, :, None] - rewards[:, None, :]).sign() + 1) / 2
    return {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": _mean(right.flatten(1), pairs.flatten(1)),
    }


def _sides(role: str, known: Quantities) -> list[tuple[str, Tensor | None]]:
    """Under which names a role is logged, and for which examples (None: all)."""
    if role != "completion":
        return [(role, None)]
    if "desirable" not in known:
        return [("chosen", None)]
    return [("chosen", known["desirable"] == 1), ("rejected", known["desirable"] != 1)]


def _where(applies: Tensor | None, values: Tensor) -> Tensor:
    return values if applies is None else torch.where(applies, values, torch.nan)


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, 0.0).sum(1) / mask.sum(1)


def batch_means(values: Values) -> dict[str, float]:
    """One log line: means over the examples that a metric applies to; a metric without such examples is left out."""
    line = {}
    for name, array in values.items():
        applies = np.isfinite(array)
        if name != "loss" and applies.any():
            line[name] = float(array[applies].mean())
    if "rewards/margins" not in line and {"rewards/chosen", "rewards/rejected"} <= line.keys():
        line["rewards/margins"] = line["rewards/chosen"] - line["rewards/rejected"]
    return line


def estimates(values: Values, clusters: Sequence[str], prefix: str) -> dict[str, Any]:
    """Each metric, and the loss, with its number of examples and an interval that respects repeated prompts."""
    found: dict[str, Any] = {}
    for name, array in values.items():
        applies = np.isfinite(array)
        if applies.any():
            kept = [cluster for cluster, use in zip(clusters, applies, strict=True) if use]
            found[f"{prefix}/{name}"] = estimate(array[applies], kept)
    return found

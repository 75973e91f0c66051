"""What is logged and returned, under the names of TRL, derived from the quantities alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.policy_optimization.objective import KL, Objective
from components.statistics import estimate

Values = Mapping[str, np.ndarray]


def per_row(values: Values, objective: Objective) -> dict[str, np.ndarray]:
    """Each metric as one number per row; NaN where it does not apply to a row (another class, a tie)."""
    rewards = {
        side: objective.beta * (values[f"{side}_logps"] - values.get(f"{side}_ref_logps", 0.0))
        for side in objective.sides
    }
    if len(objective.sides) == 2:
        return _pair(values, rewards["chosen"], rewards["rejected"])
    if "desirable" in values:
        return _labelled(values, rewards["completion"])
    return {
        "logps/chosen": values["completion_logps"],
        "nll_loss": -values["completion_logps"] / values["completion_lengths"],
    }


def _pair(values: Values, chosen: np.ndarray, rejected: np.ndarray) -> dict[str, np.ndarray]:
    decided = values["preference_probability"] != 0.5
    mean_chosen = values["chosen_logps"] / values["chosen_lengths"]
    found = {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/margins": chosen - rejected,
        "rewards/accuracies": np.where(decided, (np.sign(chosen - rejected) + 1) / 2, np.nan),  # a tie counts 0.5
        "logps/chosen": values["chosen_logps"],
        "logps/rejected": values["rejected_logps"],
        "nll_loss": -mean_chosen,
    }
    if "chosen_ref_logps" in values:
        found["logratio/chosen_down"] = (values["chosen_logps"] < values["chosen_ref_logps"]).astype(np.float64)
    else:
        odds = _log_odds(mean_chosen) - _log_odds(values["rejected_logps"] / values["rejected_lengths"])
        found |= {"log_odds_chosen": odds, "log_odds_ratio": -np.logaddexp(0.0, -odds)}
    return found


def _labelled(values: Values, rewards: np.ndarray) -> dict[str, np.ndarray]:
    good = values["desirable"] == 1
    logps = values["completion_logps"]
    return {
        "rewards/chosen": np.where(good, rewards, np.nan),
        "rewards/rejected": np.where(good, np.nan, rewards),
        "logps/chosen": np.where(good, logps, np.nan),
        "logps/rejected": np.where(good, np.nan, logps),
        **({"kl": values[KL]} if KL in values else {}),
    }


def batch_means(values: Values, objective: Objective) -> dict[str, float]:
    """One log line: means over the rows that a metric applies to; a metric without such rows is left out."""
    line = {}
    for name, array in per_row(values, objective).items():
        applies = np.isfinite(array)
        if applies.any():
            line[name] = float(array[applies].mean())
    if "rewards/margins" not in line and {"rewards/chosen", "rewards/rejected"} <= line.keys():
        line["rewards/margins"] = line["rewards/chosen"] - line["rewards/rejected"]
    return line


def estimates(values: Values, objective: Objective, clusters: Sequence[str], prefix: str) -> dict[str, Any]:
    """Each metric, and the loss, with its number of rows and an interval that respects repeated prompts."""
    found: dict[str, Any] = {}
    for name, array in {"loss": values["loss"], **per_row(values, objective)}.items():
        applies = np.isfinite(array)
        if applies.any():
            kept = [cluster for cluster, use in zip(clusters, applies, strict=True) if use]
            found[f"{prefix}/{name}"] = estimate(array[applies], kept)
    return found


def _log_odds(mean_logps: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of p = exp(mean log-probability), finite for p = 1."""
    clipped: np.ndarray = np.minimum(mean_logps, -1e-7)
    odds: np.ndarray = clipped - np.log(-np.expm1(clipped))
    return odds

"""How good a reward model is on a split: accuracy beside the baselines, calibration, margins, length bias, slices."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.preference_models import probability
from components.records import Comparison, prompt_key
from components.statistics import (
    Estimate,
    accuracy_strict_and_tie_half,
    bag_of_words_baseline,
    both_directions,
    brier,
    ece,
    estimate,
    length_baseline,
)

Array = NDArray[np.float64]


def quality(items: Sequence[Comparison], chosen: Array, rejected: Array, train: Sequence[Comparison]) -> dict[str, Any]:
    """Metrics of one split from the rewards [n] of its decided comparisons; intervals are clustered by prompt.

    The baselines are measured on the same comparisons; the bag of words learns from `train`. A correlation that is
    not defined (all lengths or all rewards equal) is left out.
    """
    if not items:
        return {"n": 0}
    clusters = [prompt_key(list(item.messages)) for item in items]
    accuracy = accuracy_strict_and_tie_half(chosen, rejected, clusters)
    p = probability(chosen, rejected)
    metrics: dict[str, Any] = {
        "n": len(items),
        "accuracy_strict": accuracy["strict"],
        "accuracy_tie_half": accuracy["tie_half"],
        "score_ties": accuracy["ties"],
        "length_baseline": length_baseline(items),
        "bag_of_words_baseline": bag_of_words_baseline(train, items),
        "margin": estimate(chosen - rejected, clusters),
        "nll": float(np.mean(np.logaddexp(0, rejected - chosen))),
        "ece": ece(*both_directions(p)),
        "brier": brier(*both_directions(p)),
    }
    return metrics | _length_bias(items, chosen, rejected) | _slices(items, chosen, rejected, clusters)


def _length_bias(items: Sequence[Comparison], chosen: Array, rejected: Array) -> dict[str, float]:
    """Correlation of reward and length in characters: over all completions, and of the differences within pairs."""
    lengths = np.array([[len(item.chosen) for item in items], [len(item.rejected) for item in items]], dtype=float)
    scores = np.stack([chosen, rejected])
    centred = (scores - scores.mean(), lengths - lengths.mean())
    within = (scores[0] - scores[1], lengths[0] - lengths[1])  # a pair and its mirror image have mean 0
    found = {"length_correlation": _cosine(*centred), "length_correlation_within_pairs": _cosine(*within)}
    return {name: value for name, value in found.items() if value is not None}


def _cosine(a: Array, b: Array) -> float | None:
    scale = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / scale if scale else None


def _slices(
    items: Sequence[Comparison], chosen: Array, rejected: Array, clusters: Sequence[str]
) -> dict[str, Estimate]:
    """Tie-half accuracy by source, by kind of annotator, and by whether the longer completion was preferred.

    Of several sources the worst one is repeated under its own name, so that a gate can hold it to a bound.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(items):
        groups[f"source={item.source}"].append(i)
        groups[f"annotator={item.annotator_kind}"].append(i)
        gap = len(item.chosen) - len(item.rejected)
        groups[f"chosen_is={'longer' if gap > 0 else 'shorter' if gap < 0 else 'equally_long'}"].append(i)
    found = {
        f"accuracy_tie_half/{name}": accuracy_strict_and_tie_half(
            chosen[rows], rejected[rows], [clusters[i] for i in rows]
        )["tie_half"]
        for name, rows in sorted(groups.items())
    }
    sources = [value for name, value in found.items() if name.startswith("accuracy_tie_half/source=")]
    if len(sources) > 1:
        found["accuracy_tie_half/worst_source"] = min(sources, key=lambda value: value["value"] or 0.0)
    return found


def reward_moments(chosen: Array, rejected: Array) -> dict[str, float]:
    """Mean and standard deviation of the reward, to centre and scale it by."""
    scores = np.concatenate([chosen, rejected])
    return {"mean": float(scores.mean()), "std": float(scores.std()), "n": len(scores)}


def training_metrics(values: Mapping[str, Array]) -> dict[str, float]:
    """One line of the training log, under TRL's names."""
    chosen, rejected = values["chosen_scores"], values["rejected_scores"]
    scores = np.concatenate([chosen, rejected])
    return {
        "min_reward": float(scores.min()),
        "mean_reward": float(scores.mean()),
        "max_reward": float(scores.max()),
        "accuracy": float((chosen > rejected).mean()),
        "margin": float((chosen - rejected).mean()),
    }

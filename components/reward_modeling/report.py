"""How good a preference model is on a split: accuracy beside baselines, calibration, margins, length bias, slices."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.preference_models.readings import probability
from components.records import Comparison, prompt_key
from components.statistics import (
    ENOUGH,
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


@dataclass(frozen=True)
class Preferences:
    """What a model says of n comparisons: log-odds [n] that the chosen completion is preferred and, from a kind that
    has them, the scores [n] of both."""

    logits: Array
    chosen: Array | None = None
    rejected: Array | None = None

    def scores(self) -> Array | None:
        """[2, n] scores of chosen and rejected."""
        return None if self.chosen is None or self.rejected is None else np.stack([self.chosen, self.rejected])


def quality(items: Sequence[Comparison], found: Preferences, train: Sequence[Comparison]) -> dict[str, Any]:
    """Metrics of one split from what a model says of its decided comparisons; intervals are clustered by prompt.

    The baselines are measured on the same comparisons; the bag of words learns from `train`. A correlation that is
    not defined (all lengths or all rewards equal) is left out, and one of scores where there are none.
    """
    if not items:
        return {"n": 0}
    clusters = [prompt_key(list(item.messages)) for item in items]
    accuracy = accuracy_strict_and_tie_half(found.logits, np.zeros_like(found.logits), clusters)
    p = probability(found.logits)
    metrics: dict[str, Any] = {
        "n": len(items),
        "accuracy_strict": accuracy["strict"],
        "accuracy_tie_half": accuracy["tie_half"],
        "score_ties": accuracy["ties"],
        "length_baseline": length_baseline(items),
        "bag_of_words_baseline": bag_of_words_baseline(train, items),
        "margin": estimate(found.logits, clusters),
        "nll": float(np.mean(np.logaddexp(0, -found.logits))),
        "ece": ece(*both_directions(p)),
        "brier": brier(*both_directions(p)),
    }
    return metrics | _length_bias(items, found) | _slices(items, found.logits, clusters)


def _length_bias(items: Sequence[Comparison], found: Preferences) -> dict[str, float]:
    """Correlation with length in characters: of scores over all completions, and of differences within pairs."""
    lengths = np.array([[len(item.chosen) for item in items], [len(item.rejected) for item in items]], dtype=float)
    within = _cosine(found.logits, lengths[0] - lengths[1])  # a pair and its mirror image have mean 0
    scores = found.scores()
    over_all = None if scores is None else _cosine(scores - scores.mean(), lengths - lengths.mean())
    values = {"length_correlation": over_all, "length_correlation_within_pairs": within}
    return {name: value for name, value in values.items() if value is not None}


def _cosine(a: Array, b: Array) -> float | None:
    scale = math.sqrt(float((a * a).sum()) * float((b * b).sum()))
    return float((a * b).sum()) / scale if scale else None


def _slices(items: Sequence[Comparison], logits: Array, clusters: Sequence[str]) -> dict[str, Estimate]:
    """Tie-half accuracy by source, by kind of annotator, and by whether the longer completion was preferred.

    Of several sources of at least `ENOUGH` comparisons the worst one is repeated under its own name, so that a gate can
    hold it to a bound: a handful decides nothing.
    """
    groups: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(items):
        groups[f"source={item.source}"].append(i)
        groups[f"annotator={item.annotator_kind}"].append(i)
        gap = len(item.chosen) - len(item.rejected)
        groups[f"chosen_is={'longer' if gap > 0 else 'shorter' if gap < 0 else 'equally_long'}"].append(i)
    found = {
        f"accuracy_tie_half/{name}": accuracy_strict_and_tie_half(
            logits[rows], np.zeros(len(rows)), [clusters[i] for i in rows]
        )["tie_half"]
        for name, rows in sorted(groups.items())
    }
    sources = [
        value for name, value in found.items() if name.startswith("accuracy_tie_half/source=") and value["n"] >= ENOUGH
    ]
    if len(sources) > 1:
        found["accuracy_tie_half/worst_source"] = min(sources, key=lambda value: value["value"] or 0.0)
    return found


def reward_moments(found: Preferences) -> dict[str, float]:
    """Mean and standard deviation of the scores, to centre and scale them by; nothing where there are none."""
    scores = found.scores()
    return {} if scores is None else {"mean": float(scores.mean()), "std": float(scores.std()), "n": scores.size}


def training_metrics(values: Mapping[str, Array]) -> dict[str, float]:
    """One line of the training log, under TRL's names; those of rewards only where the kind has rewards."""
    if "chosen_scores" not in values:
        return _margins(values["pair_logits"])
    chosen, rejected = values["chosen_scores"], values["rejected_scores"]
    scores = np.concatenate([chosen, rejected])
    rewards = {
        "min_reward": float(scores.min()),
        "mean_reward": float(scores.mean()),
        "max_reward": float(scores.max()),
    }
    return rewards | _margins(chosen - rejected)


def _margins(logits: Array) -> dict[str, float]:
    return {"accuracy": float((logits > 0).mean()), "margin": float(logits.mean())}

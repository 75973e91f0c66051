"""The same numbers group by group: win rates by source and by which answer is longer, accuracies likewise (EVAL-22)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.measures.evidence import Decided, Evidence, Testimony
from components.measures.groups import Slice, length_kind, slices
from components.measures.wins import length_gaps


def slice_rows(evidence: Evidence) -> list[dict[str, Any]]:
    """One row per metric, dimension and group, for slices.json and the page."""
    rows: list[dict[str, Any]] = []
    for witness in evidence.present:
        rows += _accuracies(evidence, witness)
        for opponent in witness.wins:
            rows += _wins(evidence, witness, opponent)
    return rows


def _accuracies(evidence: Evidence, witness: Testimony) -> Iterator[dict[str, Any]]:
    decided, metric = evidence.test.decided, f"{witness.name}.accuracy"
    if witness.ranked is None or not decided.items:
        return
    for dimension, groups in _of_comparisons(decided).items():
        found = slices(witness.ranked.strict, groups, evidence.bootstrap, decided.keys)
        yield from (_row(metric, dimension, item) for item in found)


def _of_comparisons(decided: Decided) -> dict[str, list[str]]:
    return {
        "source": [item.source for item in decided.items],
        "length": [length_kind(len(item.chosen) - len(item.rejected), "chosen") for item in decided.items],
    }


def _wins(evidence: Evidence, witness: Testimony, opponent: str) -> Iterator[dict[str, Any]]:
    sides = evidence.systems["candidate"], evidence.systems[opponent]
    dimensions = {
        "source": [prompt.source for prompt in evidence.test.prompts],
        "length": [length_kind(gap, "candidate") for gap in length_gaps(sides)],
    }
    for dimension, groups in dimensions.items():
        found = slices(witness.wins[opponent], groups, evidence.bootstrap)
        yield from (_row(f"win_rate.{witness.name}.vs_{opponent}", dimension, item) for item in found)


def _row(metric: str, dimension: str, item: Slice) -> dict[str, Any]:
    return {
        "metric": metric,
        "dimension": dimension,
        "group": item.group,
        "eligible": item.eligible,
        **item.estimate,
    }

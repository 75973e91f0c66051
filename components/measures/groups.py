"""A rate in every group of prompts, and the group it is worst in (EVAL-22)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from components.measures.evidence import NotMeasured, Values
from components.statistics import Bootstrap, Estimate

MIN_GROUP = 30
"""A group with fewer prompts is shown, but cannot decide a worst-group value."""


@dataclass(frozen=True)
class Slice:
    """One group of one metric."""

    group: str
    estimate: Estimate
    eligible: bool


def slices(
    values: Values, groups: Sequence[str], bootstrap: Bootstrap, clusters: Sequence[str] | None = None
) -> list[Slice]:
    """The rate in every group, groups in the order of their names; groups without a verdict are left to the tally."""
    rows = []
    for group in sorted(set(groups)):
        chosen = [i for i, name in enumerate(groups) if name == group and values[i] is not None]
        if not chosen:
            continue
        known = [float(values[i]) for i in chosen]  # type: ignore[arg-type]
        names = None if clusters is None else [clusters[i] for i in chosen]
        size = len(chosen) if names is None else len(set(names))
        rows.append(Slice(group, bootstrap.rate(known, names), size >= MIN_GROUP))
    return rows


def worst_group(
    values: Values, groups: Sequence[str], bootstrap: Bootstrap, clusters: Sequence[str] | None = None
) -> Slice:
    """The eligible group with the smallest lower bound, bounds simultaneous over the groups (Bonferroni).

    Raises NotMeasured with fewer than two eligible groups: then the overall value says it all.
    """
    eligible = sum(row.eligible for row in slices(values, groups, replace(bootstrap, resamples=1), clusters))
    if eligible < 2:
        raise NotMeasured(f"fewer than two sources with {MIN_GROUP} prompts or more")
    strict = replace(bootstrap, confidence=1 - (1 - bootstrap.confidence) / eligible)
    rows = [row for row in slices(values, groups, strict, clusters) if row.eligible]
    return min(rows, key=lambda row: (row.estimate["ci_low"] or 0.0, row.group))


def length_kind(gap: float, who: str) -> str:
    """The group of a length difference in characters."""
    return f"{who} longer" if gap > 0 else f"{who} shorter" if gap < 0 else "equal length"

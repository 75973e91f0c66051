"""RM-Bench: accuracy when style works against the better answer, with it, and when both have one style (EVAL-17)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from components.measures.evidence import Decided, NotMeasured, Ranked
from components.measures.table import MEASURES
from components.statistics import Bootstrap, Estimate

STYLES = ("concise", "detailed", "detailed_markdown")
"""Prompt variants of the completions, from the plainest to the most decorated."""

CELLS = {
    "easy": [(1, 0), (2, 0), (2, 1)],
    "normal": [(0, 0), (1, 1), (2, 2)],
    "hard": [(0, 1), (0, 2), (1, 2)],
}
"""(style of the chosen, style of the rejected completion): style helps, is the same, misleads."""


def _average(cells: np.ndarray, part: str) -> np.ndarray:
    """The mean [B, D] of the accuracies [B, D, 3, 3] that belong to a part."""
    if part == "average":
        return np.asarray(np.mean([_average(cells, each) for each in CELLS], axis=0))
    return np.asarray(np.mean([cells[:, :, i, j] for i, j in CELLS[part]], axis=0))


@MEASURES.row(
    name="rm_bench_easy",
    summary="Accuracy where the better answer is also the more decorated one.",
    method="EVAL-17",
    source="Liu et al. 2024, RM-Bench, section 3.3",
    metric="{witness}.rm_bench.easy",
    label="{witness}, RM-Bench easy: style helps",
    format="percent",
    section="scorers",
    fixed={"part": "easy"},
)
@MEASURES.row(
    name="rm_bench_normal",
    summary="Accuracy where both answers have one style.",
    method="EVAL-17",
    source="Liu et al. 2024, RM-Bench, section 3.3",
    metric="{witness}.rm_bench.normal",
    label="{witness}, RM-Bench normal: one style",
    format="percent",
    section="scorers",
    fixed={"part": "normal"},
)
@MEASURES.row(
    name="rm_bench_hard",
    summary="Accuracy where the worse answer is the more decorated one.",
    method="EVAL-17",
    source="Liu et al. 2024, RM-Bench, section 3.3",
    metric="{witness}.rm_bench.hard",
    label="{witness}, RM-Bench hard: style misleads",
    format="percent",
    section="scorers",
    fixed={"part": "hard"},
)
@MEASURES.row(
    name="rm_bench_average",
    summary="The mean of RM-Bench easy, normal and hard.",
    method="EVAL-17",
    source="Liu et al. 2024, RM-Bench, section 3.3",
    metric="{witness}.rm_bench.average",
    label="{witness}, RM-Bench average",
    format="percent",
    section="scorers",
    fixed={"part": "average"},
)
def rm_bench(
    ranked: Ranked,
    comparisons: Decided,
    bootstrap: Bootstrap,
    *,
    part: Literal["easy", "normal", "hard", "average"] = "average",
) -> Estimate:
    """Accuracy over the 3 x 3 matrix of styles, by domain, then the mean of the domains.

    M[i, j] is the share of a domain's comparisons with a chosen completion of style i and a rejected one of style j in
    which the witness prefers the chosen one strictly. easy: mean of the lower triangle (the chosen one is more
    decorated); normal: the diagonal; hard: the upper triangle. Comparisons that do not say both styles are left out.
    """
    styled = [i for i, styles in enumerate(comparisons.styles) if all(style in STYLES for style in styles)]
    if not styled:
        raise NotMeasured(f"no comparison says the styles of its completions (prompt_variant {', '.join(STYLES)})")
    domains = {name: d for d, name in enumerate(sorted({comparisons.domains[i] for i in styled}))}
    keys = {name: k for k, name in enumerate(sorted({comparisons.keys[i] for i in styled}))}
    strict = ranked.strict
    right, count = np.zeros((2, len(keys), len(domains), 3, 3))
    for i in styled:
        chosen, rejected = comparisons.styles[i]
        place = keys[comparisons.keys[i]], domains[comparisons.domains[i]]
        cell = (*place, STYLES.index(chosen), STYLES.index(rejected))
        right[cell] += strict[i]
        count[cell] += 1
    _refuse_gaps(count.sum(axis=0), list(domains), part)

    def statistic(weights: np.ndarray) -> np.ndarray:
        cells = np.tensordot(weights, right, 1) / np.tensordot(weights, count, 1)
        return np.asarray(_average(cells, part).mean(axis=1))

    return bootstrap.statistic(statistic, len(keys), len(styled))


def _refuse_gaps(count: np.ndarray, domains: Sequence[str], part: str) -> None:
    wanted = [cell for name, cells in CELLS.items() if part in (name, "average") for cell in cells]
    for domain, cells in zip(domains, count, strict=True):
        for i, j in wanted:
            if not cells[i, j]:
                raise NotMeasured(f"{domain} has no comparison of a {STYLES[i]} chosen and a {STYLES[j]} rejected one")

"""How much a witness likes length (EVAL-27)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from components.contract.ranges import Whole
from components.judges import PairResult
from components.measures.evidence import Answers, NotMeasured, TestSet
from components.measures.table import MEASURES
from components.statistics import Bootstrap, Estimate, weigh


@MEASURES.row(
    method="EVAL-27",
    metric="{witness}.length_correlation",
    label="{witness}, correlation of score and length over all answers",
    format="number",
    section="scorers",
)
def length_correlation(
    scores: Mapping[str, Sequence[float]], systems: Mapping[str, Answers], bootstrap: Bootstrap
) -> Estimate:
    """Pearson correlation of score and characters over all systems' answers; prompts are drawn together."""
    x = np.array([[len(text) for text in answers.texts] for answers in systems.values()], float)
    y = np.array([scores[name] for name in systems], float)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise NotMeasured("all answers have one length, or one score")
    x, y = (x - x.mean()) / x.std(), (y - y.mean()) / y.std()

    def statistic(weights: np.ndarray) -> np.ndarray:
        total = weights.sum(axis=1) * len(systems)
        mx, my = weigh(weights, x.sum(axis=0)) / total, weigh(weights, y.sum(axis=0)) / total
        xx, yy, xy = (weigh(weights, (a * b).sum(axis=0)) / total for a, b in ((x, x), (y, y), (x, y)))
        return np.asarray((xy - mx * my) / np.sqrt((xx - mx**2) * (yy - my**2)))

    return bootstrap.statistic(statistic, x.shape[1])


@MEASURES.row(
    method="EVAL-27",
    metric="{witness}.prefers_longer",
    label="decided for the clearly longer answer",
    format="percent",
    section="judge",
    note="compare with the other scorers",
)
def prefers_longer(
    judged: Mapping[str, Sequence[PairResult]],
    systems: Mapping[str, Answers],
    test: TestSet,
    bootstrap: Bootstrap,
    *,
    characters: Whole = 30,
) -> Estimate:
    """P(the longer answer wins) over decided pairs that differ by more than so many characters."""
    rows = [
        (prompt.key, (result.outcome == "a") == (len(own) > len(other)))
        for opponent, results in judged.items()
        for prompt, own, other, result in zip(
            test.prompts, systems["candidate"].texts, systems[opponent].texts, results, strict=True
        )
        if result.outcome in ("a", "b") and abs(len(own) - len(other)) > characters
    ]
    if not rows:
        raise NotMeasured(f"no decided pair differs by more than {characters} characters")
    return bootstrap.rate([float(won) for _, won in rows], [key for key, _ in rows])

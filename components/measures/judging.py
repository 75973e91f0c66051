"""How far a witness that is asked in both orders can be trusted, over all pairs put to it (EVAL-03)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.judges import PairResult
from components.measures.evidence import NotMeasured, TestSet
from components.measures.table import MEASURES
from components.statistics import Bootstrap, Estimate

Judged = Mapping[str, Sequence[PairResult]]


def _asked(judged: Judged, test: TestSet) -> list[tuple[str, PairResult]]:
    """(prompt key, result) of every pair that was put to it; identical answers never were."""
    keys = [prompt.key for prompt in test.prompts]
    return [
        (key, result)
        for results in judged.values()
        for key, result in zip(keys, results, strict=True)
        if not result.identical
    ]


def _rate(rows: Sequence[tuple[str, bool]], bootstrap: Bootstrap, lacking: str) -> Estimate:
    if not rows:
        raise NotMeasured(lacking)
    return bootstrap.rate([float(x) for _, x in rows], [key for key, _ in rows])


@MEASURES.row(
    method="EVAL-03",
    metric="{witness}.position_consistency",
    label="both orders give the same verdict",
    format="percent",
    section="judge",
    note="100% is best; do not trust a judge below 70%",
    warn=(0.7, None, "The {witness} gives both orders the same verdict in only {value} of pairs."),
)
def position_consistency(judged: Judged, test: TestSet, bootstrap: Bootstrap) -> Estimate:
    """P(both orders agree) over pairs with two verdicts; two ties agree."""
    rows = [(key, r.consistent) for key, r in _asked(judged, test) if r.consistent is not None]
    return _rate(rows, bootstrap, "no pair got two verdicts")


@MEASURES.row(
    method="EVAL-03",
    metric="{witness}.first_position_rate",
    label="inconsistent pairs that lean to the first answer",
    format="percent",
    section="judge",
    note="50% is unbiased",
)
def first_position_rate(judged: Judged, test: TestSet, bootstrap: Bootstrap) -> Estimate:
    """Among inconsistent pairs, the share that leans to the answer shown first."""
    rows = [(key, r.favours_first) for key, r in _asked(judged, test) if r.favours_first is not None]
    return _rate(rows, bootstrap, "no inconsistent pair")


@MEASURES.row(
    method="EVAL-03",
    metric="{witness}.parse_failure_rate",
    label="questions without a readable verdict",
    format="percent",
    section="judge",
    note="0% is best",
    warn=(None, 0.02, "{value} of the {witness}'s answers hold no readable verdict."),
)
def parse_failure_rate(judged: Judged, test: TestSet, bootstrap: Bootstrap) -> Estimate:
    """Share of questions (two a pair) that got no verdict after all retries."""
    rows = [(key, not verdict.parse_ok) for key, r in _asked(judged, test) for verdict in (r.first, r.second)]
    return _rate(rows, bootstrap, "every pair was identical")

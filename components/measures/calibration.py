"""Whether a witness's margins are the probabilities they claim to be (EVAL-15).

Labels are hard: the soft ones of aggregated votes are smoothed, which would count as miscalibration.
"""

from __future__ import annotations

from components.measures.evidence import Decided, Ranked
from components.measures.table import MEASURES
from components.statistics import Bootstrap, Estimate
from components.statistics.calibration import brier_of_pairs, ece_of_pairs, nll_of_pairs


def _labels(ranked: Ranked) -> list[float]:
    return [1.0] * len(ranked.margins)


@MEASURES.row(
    method="EVAL-15",
    source="Naeini et al. 2015, eq. 1",
    metric="{witness}.ece10",
    label="{witness}, expected calibration error",
    format="number",
    section="scorers",
    warn=(None, 0.08, "The {witness}'s margins are no probabilities: calibration error {value}."),
)
def calibration_error(ranked: Ranked, comparisons: Decided, bootstrap: Bootstrap) -> Estimate:
    """Expected calibration error of sigmoid(margin), every pair in both directions, ten uniform bins."""
    return ece_of_pairs(ranked.margins, _labels(ranked), comparisons.keys, bootstrap, bins=10)


@MEASURES.row(
    method="EVAL-15",
    metric="{witness}.brier",
    label="{witness}, Brier score",
    format="number",
    section="scorers",
)
def brier_score(ranked: Ranked, comparisons: Decided, bootstrap: Bootstrap) -> Estimate:
    """Mean squared distance of sigmoid(margin) and label; 0.25 for a witness that always says 0.5."""
    return brier_of_pairs(ranked.margins, _labels(ranked), comparisons.keys, bootstrap)


@MEASURES.row(
    method="EVAL-15",
    metric="{witness}.nll",
    label="{witness}, negative log-likelihood",
    format="number",
    section="scorers",
)
def negative_log_likelihood(ranked: Ranked, comparisons: Decided, bootstrap: Bootstrap) -> Estimate:
    """Mean negative log-likelihood of the labels under sigmoid(margin), in nats; log 2 for always 0.5."""
    return nll_of_pairs(ranked.margins, _labels(ranked), comparisons.keys, bootstrap)

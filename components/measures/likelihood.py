"""What log-probabilities of the comparisons say: ranking accuracy (EVAL-19), the implicit reward (EVAL-20)."""

from __future__ import annotations

from collections.abc import Sequence

from components.measures.evidence import Decided, Likelihood
from components.measures.table import MEASURES
from components.statistics import Bootstrap, Estimate

TIE = 1e-9
"""Log-probabilities closer than this are equal (identical texts, or a policy compared with itself)."""


def ranked_right(chosen: Sequence[float], rejected: Sequence[float]) -> list[float]:
    """1 if the chosen completion has the higher value, 0 if the lower, 0.5 for a tie."""
    gaps = [c - r for c, r in zip(chosen, rejected, strict=True)]
    return [0.5 if abs(gap) < TIE else float(gap > 0) for gap in gaps]


def log_ratios(policy: Sequence[float], reference: Sequence[float]) -> list[float]:
    """The implicit reward over beta, log pi(y|x) - log ref(y|x), from summed log-probabilities (DPO, equation 5)."""
    return [p - r for p, r in zip(policy, reference, strict=True)]


@MEASURES.row(
    method="EVAL-20",
    source="Rafailov et al. 2023, eq. 5",
    metric="implicit_reward.accuracy.{system}",
    label="implicit reward of the {system}, log pi/ref",
    format="percent",
    section="scorers",
    headline=(40, "implicit reward accuracy"),
    bar="implicit reward",
)
def implicit_reward_accuracy(
    likelihood: Likelihood, reference_likelihood: Likelihood, comparisons: Decided, bootstrap: Bootstrap
) -> Estimate:
    """Share of the comparisons whose chosen side gained more log-probability over the reference; ties one half."""
    chosen = log_ratios(likelihood.chosen, reference_likelihood.chosen)
    rejected = log_ratios(likelihood.rejected, reference_likelihood.rejected)
    return bootstrap.rate(ranked_right(chosen, rejected), comparisons.keys)


@MEASURES.row(
    method="EVAL-19",
    source="Chen et al. 2024, Preference Learning Algorithms Do Not Learn Preference Rankings",
    metric="ranking.accuracy.{system}",
    label="likelihood under the {system}",
    format="percent",
    section="scorers",
    bar="{system}'s likelihood",
)
def ranking_accuracy(likelihood: Likelihood, comparisons: Decided, bootstrap: Bootstrap) -> Estimate:
    """Share of the comparisons whose chosen completion is the likelier one; ties one half."""
    return bootstrap.rate(ranked_right(likelihood.chosen, likelihood.rejected), comparisons.keys)


@MEASURES.row(
    method="EVAL-19",
    metric="ranking.accuracy_per_token.{system}",
    label="likelihood per token under the {system}",
    format="percent",
    section="scorers",
)
def ranking_accuracy_per_token(likelihood: Likelihood, comparisons: Decided, bootstrap: Bootstrap) -> Estimate:
    """The same with log-probabilities divided by the number of tokens."""
    chosen = [s / n for s, n in zip(likelihood.chosen, likelihood.chosen_tokens, strict=True)]
    rejected = [s / n for s, n in zip(likelihood.rejected, likelihood.rejected_tokens, strict=True)]
    return bootstrap.rate(ranked_right(chosen, rejected), comparisons.keys)

"""What log-probabilities say: KL to the reference, ranking accuracy, the implicit reward (EVAL-19, 20, 21, 23)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from components.statistics.intervals import Bootstrap, Estimate

TIE = 1e-9
"""Log-probabilities closer than this are equal (identical texts, or a policy compared with itself)."""

TokenLogps = Sequence[Sequence[float]]
"""Per completion, the log-probabilities of its tokens."""


def kl(policy: TokenLogps, reference: TokenLogps, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """KL(policy || reference) estimated on the policy's own samples, one completion per prompt.

    With d = log pi - log ref of a sampled token: sequence_k1 = mean over completions of sum d; token_k1 = sum d over
    all tokens / number of tokens; token_k3 = mean over tokens of exp(-d) - 1 + d, never negative (Schulman 2020,
    "Approximating KL divergence"). Both log-probabilities must be of the distribution that was sampled from.
    """
    gaps = [np.asarray(p, float) - np.asarray(r, float) for p, r in zip(policy, reference, strict=True)]
    sums = [float(gap.sum()) for gap in gaps]
    k3 = [float((np.expm1(-gap) + gap).sum()) for gap in gaps]
    lengths = [float(len(gap)) for gap in gaps]
    return {
        "kl.sequence_k1": bootstrap.mean(sums),
        "kl.token_k1": bootstrap.ratio(sums, lengths),
        "kl.token_k3": bootstrap.ratio(k3, lengths),
    }


def ranked_right(chosen: Sequence[float], rejected: Sequence[float]) -> list[float]:
    """1 if the chosen completion has the higher value, 0 if the lower, 0.5 for a tie (EVAL-19)."""
    gaps = [c - r for c, r in zip(chosen, rejected, strict=True)]
    return [0.5 if abs(gap) < TIE else float(gap > 0) for gap in gaps]


def log_ratios(policy: Sequence[float], reference: Sequence[float]) -> list[float]:
    """The implicit reward over beta, log pi(y|x) - log ref(y|x), from summed log-probabilities (DPO, equation 5)."""
    return [p - r for p, r in zip(policy, reference, strict=True)]

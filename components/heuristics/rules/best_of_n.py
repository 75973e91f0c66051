"""The best of several samples, by scores that somebody else gave them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from components.heuristics.groups import Found
from components.heuristics.table import RULES
from components.records.samples import Sample


@RULES.row(
    method="PO-70",
    source="Stiennon et al. 2020, Learning to summarize from human feedback, sec. 4.3; Nakano et al. 2021, WebGPT, "
    "sec. 3 (rejection sampling)",
    departures="A prompt with fewer than two different scores says nothing: the only answer would be no choice. What "
    "ties with the best, and is not it, stays out of the ranking, since it is not worse.",
)
def best_of_n(
    group: Sequence[Sample], scores: Sequence[float], *, truncated: Literal["drop", "keep"] = "drop"
) -> list[Found]:
    """Rank the samples of a prompt by their score; the first of those with the highest is the best one.

    Training on the demonstrations of such a ranking is best-of-n fine-tuning. Repeated texts are left out after the
    first, completions that were cut off by `truncated`: drop. Of n samples, KL(best of n || policy) is at most
    ln n - (n - 1) / n nats.
    """
    by_score: dict[float, list[str]] = defaultdict(list)
    texts: set[str] = set()
    for sample, score in zip(group, scores, strict=True):
        if sample.completion not in texts and not (truncated == "drop" and sample.finish == "length"):
            texts.add(sample.completion)
            by_score[score].append(_name(sample))
    if len(by_score) < 2:
        return []
    tiers = [by_score[score] for score in sorted(by_score, reverse=True)]
    tiers[0] = tiers[0][:1]
    complete = sum(map(len, tiers)) == len(group)
    ranking = {"type": "ranking", "tiers": tiers, "complete": complete}
    return [Found({_name(sample): sample for sample in group}, [ranking])]


def _name(sample: Sample) -> str:
    return f"s{sample.sample}"

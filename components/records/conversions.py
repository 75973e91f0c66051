"""Conversions between kinds of judgment: rows of the table CONVERSIONS. Pure functions.

Nothing vanishes: what gives no pair is counted by reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from components.contract.ranges import NonNegative
from components.contract.table import Table
from components.errors import RecordError

CONVERSIONS = Table(
    "conversions",
    "conversion",
    "components.records.conversions",
    "How one kind of judgment becomes another, and what is lost on the way.",
    facts=("method", "source", "lost"),
)


@dataclass(frozen=True)
class Pair:
    """`a` against `b`; `strength` in [0, scale]; the weights of one `group` belong together."""

    a: str
    b: str
    outcome: Literal["a", "b", "tie"]
    strength: float
    weight: float
    group: str
    scale: float = 1.0


@dataclass(frozen=True)
class Converted:
    """The pairs, and what gave none, by reason."""

    pairs: list[Pair]
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Scored:
    """One score of `item`. `key`: what two scores must share to be compared (prompt, attribute, annotator, scale).

    `scale`: the largest difference that two scores can have.
    """

    key: Hashable
    item: str
    value: float | None
    group: str = ""
    scale: float = 1.0


@dataclass(frozen=True)
class Labelled:
    """One binary label of `item`; true is the desirable side. `key`: (prompt, attribute, annotator kind)."""

    key: Hashable
    item: str
    value: bool
    group: str = ""


@dataclass(frozen=True)
class VoteShare:
    """P(a preferred) and the number of votes behind it."""

    p_a: float
    n: int


@CONVERSIONS.row(
    method="CONV-01",
    source="Ouyang et al. 2022; UltraFeedback",
    lost="the absolute level",
)
def scores_to_pairs(scores: Iterable[Scored], *, delta: NonNegative = 0.0) -> Converted:
    """Every two scores with the same key become a pair; outcome = sign(difference), strength = |difference|.

    Give values that are higher for the better item. |difference| < delta gives no pair, = delta does; with delta 0,
    equal scores are ties. Never compares across annotators: pool z-scores first and leave the annotator out of the key.
    Raises RecordError for a negative delta.
    """
    if delta < 0:
        raise RecordError(
            f"scores_to_pairs: delta must be >= 0 (got {delta}). Use 0 to keep every pair.", field="delta"
        )
    groups: dict[Hashable, list[tuple[Scored, float]]] = defaultdict(list)
    dropped: Counter[str] = Counter()
    for score in scores:
        if score.value is None:
            dropped["missing score"] += 1
        else:
            groups[score.key].append((score, score.value))
    pairs = []
    for group in groups.values():
        if len(group) == 1:
            dropped["single score"] += 1
        for (first, left), (second, right) in combinations(group, 2):
            difference = left - right
            if abs(difference) < delta:
                dropped["difference below delta"] += 1
                continue
            outcome: Literal["a", "b", "tie"] = "a" if difference > 0 else "b" if difference < 0 else "tie"
            pairs.append(Pair(first.item, second.item, outcome, abs(difference), 1.0, first.group, first.scale))
    return Converted(pairs, dropped)


@CONVERSIONS.row(
    method="CONV-02",
    source="Ouyang et al. 2022, sec. 3.5",
    lost="the order of more than two at once, and ties",
)
def ranking_to_pairs(tiers: Sequence[Sequence[str]], group: str) -> Converted:
    """All pairs over different tiers (best tier first), each of weight 1 / number of pairs.

    A tier invents no order. All tied: no pair, counted.
    """
    ranked = [(rank, cid) for rank, tier in enumerate(tiers) for cid in tier]
    decided = [(better[1], worse[1]) for better, worse in combinations(ranked, 2) if better[0] < worse[0]]
    if not decided:
        return Converted([], Counter({"ranking all tied": 1}))
    return Converted([Pair(a, b, "a", 0.0, 1.0 / len(decided), group) for a, b in decided])


@CONVERSIONS.row(method="CONV-05", source="", lost="who voted what, and the share of ties")
def votes_to_probability(n_a: float, n_b: float, n_tie: float = 0, *, alpha: NonNegative = 1.0) -> VoteShare:
    """p_a = (n_a + n_tie/2 + alpha) / (n + 2 alpha), with n kept beside it.

    Counts may be fractional (a judge's own probability is that much of a vote). Raises RecordError for negative counts,
    or for no votes without smoothing.
    """
    n = n_a + n_b + n_tie
    if min(n_a, n_b, n_tie, alpha) < 0 or n + 2 * alpha == 0:
        got = f"a {n_a}, b {n_b}, tie {n_tie}, alpha {alpha}"
        raise RecordError(f"votes_to_probability: counts must be >= 0 and not all 0 (got {got}). Check the votes.")
    return VoteShare((n_a + n_tie / 2 + alpha) / (n + 2 * alpha), round(n))


@CONVERSIONS.row(
    method="CONV-08",
    source="",
    lost="that the labels were absolute: two good answers look as different from a bad one as two bad ones do",
)
def binary_to_pairs(labels: Iterable[Labelled]) -> Converted:
    """Every desirable x undesirable item with the same key becomes a pair; the rest stays unpaired, counted."""
    sides: dict[Hashable, tuple[list[Labelled], list[Labelled]]] = defaultdict(lambda: ([], []))
    for label in labels:
        sides[label.key][0 if label.value else 1].append(label)
    pairs = []
    dropped: Counter[str] = Counter()
    for good, bad in sides.values():
        if not good or not bad:
            dropped["unpaired label"] += len(good) + len(bad)
        pairs += [Pair(g.item, b.item, "a", 0.0, 1.0, g.group) for g in good for b in bad]
    return Converted(pairs, dropped)

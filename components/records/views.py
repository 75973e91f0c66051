"""What trainers read: comparisons, labelled completions, demonstrations, lists. What gives none of them is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from components.errors import RecordError
from components.records.canonical import canonical_json
from components.records.conversions import (
    Converted,
    Labelled,
    Pair,
    Scored,
    binary_to_pairs,
    ranking_to_pairs,
    scores_to_pairs,
)
from components.records.prompts import Message, candidate_text, messages, prompt_key
from components.records.schema import Record

PREFERENCES = ("pairwise", "ranking", "score", "binary")  # the first kind a record has is the one comparisons come from


@dataclass(frozen=True)
class Comparison:
    """One decided or tied pair. `chosen` is the preferred completion; for a tie it is just the first one.

    `probability`: P(chosen preferred), 1.0 for a hard label, 0.5 for a tie. `margin`: strength as a share of its scale,
    so that sets with other scales train side by side, 0 if none was given; `strength`: the strength as it was stated.
    `group`: the record or prompt it came from; the pairs of one ranking share theirs, and their weights add up to one.
    """

    messages: tuple[Message, ...]
    chosen: str
    rejected: str
    probability: float
    margin: float
    strength: float
    weight: float
    group: str
    record_id: str
    source: str
    annotator_kind: str
    tie: bool


@dataclass(frozen=True)
class LabeledCompletion:
    """One completion that was called desirable or not."""

    messages: tuple[Message, ...]
    completion: str
    desirable: bool
    weight: float
    record_id: str
    source: str


@dataclass(frozen=True)
class Demonstration:
    """One completion to imitate."""

    messages: tuple[Message, ...]
    completion: str
    record_id: str
    weight: float


@dataclass(frozen=True)
class RankedList:
    """Two or more completions of one prompt, best first; `tiers` counts from 0, equal numbers are tied."""

    messages: tuple[Message, ...]
    completions: tuple[str, ...]
    tiers: tuple[int, ...]
    record_id: str
    weight: float


@dataclass(frozen=True)
class Comparisons:
    items: list[Comparison]
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Labeled:
    items: list[LabeledCompletion]
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Demonstrations:
    items: list[Demonstration]
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class RankedLists:
    items: list[RankedList]
    dropped: Counter[str] = field(default_factory=Counter)


def _text_only(records: Iterable[Record], dropped: Counter[str]) -> Iterator[tuple[Record, tuple[Message, ...]]]:
    for record in records:
        try:
            prompt = tuple(messages(record))
            for candidate in record["candidates"]:
                candidate_text(record, candidate["cid"])
        except RecordError as error:
            if error.rule != "text_only":
                raise
            dropped["not text only"] += 1
            continue
        yield record, prompt


def _weight(record: Record) -> float:
    return float(record["quality"].get("weight", 1.0))


def _of_type(record: Record, kind: str) -> list[dict[str, Any]]:
    return [judgment for judgment in record["judgments"] if judgment["type"] == kind]


def votes_of(record: Record) -> list[dict[str, Any]]:
    """The pairwise judgments that count: a combined one instead of those it sums up, so that a pair counts once."""
    pairwise = _of_type(record, "pairwise")
    summed = {i for judgment in pairwise for i in judgment.get("combined_of", ())}
    return [
        judgment for i, judgment in enumerate(record["judgments"]) if judgment["type"] == "pairwise" and i not in summed
    ]


def _kind_used(record: Record, dropped: Counter[str]) -> str | None:
    """The kind of judgment that comparisons are made from; the others are counted."""
    present = [kind for kind in PREFERENCES if _of_type(record, kind)]
    if not present:
        dropped[f"no preference ({', '.join(sorted({j['type'] for j in record['judgments']}))})"] += 1
        return None
    for other in present[1:]:
        dropped[f"{other} beside {present[0]}"] += len(_of_type(record, other))
    return present[0]


def _share(judgment: dict[str, Any]) -> float:
    """Strength in [0, 1], whatever scale [0, S] it was stated on; 0 if none was stated."""
    return float(judgment["strength"]) / float(judgment["strength_scale"][1]) if "strength" in judgment else 0.0


def _from_pairwise(record: Record, prompt: tuple[Message, ...], dropped: Counter[str]) -> Iterator[Comparison]:
    for judgment in votes_of(record):
        outcome = judgment["outcome"]
        if outcome not in ("a", "b", "tie"):
            dropped[outcome] += 1
            continue
        first, second = (judgment["b"], judgment["a"]) if outcome == "b" else (judgment["a"], judgment["b"])
        p_a = judgment.get("p_a", {"a": 1.0, "b": 0.0, "tie": 0.5}[outcome])
        yield Comparison(
            messages=prompt,
            chosen=candidate_text(record, first),
            rejected=candidate_text(record, second),
            probability=float(1 - p_a if outcome == "b" else p_a),
            margin=_share(judgment),
            strength=float(judgment.get("strength", 0.0)),
            weight=_weight(record),
            group=record["record_id"],
            record_id=record["record_id"],
            source=record["provenance"]["source"],
            annotator_kind=record["annotator"]["kind"],
            tie=outcome == "tie",
        )


@dataclass(frozen=True)
class _Item:
    """A candidate of some record: what a conversion's item stands for."""

    record: Record
    prompt: tuple[Message, ...]
    cid: str


class _Pool:
    """Scores and labels of all records; pairs may join two records, so they are made at the end."""

    def __init__(self) -> None:
        self.items: dict[str, _Item] = {}
        self.scores: list[Scored] = []
        self.labels: list[Labelled] = []

    def item(self, record: Record, prompt: tuple[Message, ...], cid: str) -> str:
        name = f"{record['record_id']}/{cid}"
        self.items[name] = _Item(record, prompt, cid)
        return name

    def add_scores(self, record: Record, prompt: tuple[Message, ...]) -> None:
        place = (prompt_key(record), canonical_json(record["context"]))
        for judgment in _of_type(record, "score"):
            sign, scale = (1 if judgment["higher_is_better"] else -1), judgment["scale"]
            key = (*place, judgment["attribute"], record["annotator"]["id"], scale["min"], scale["max"], sign)
            name, span = self.item(record, prompt, judgment["cid"]), float(scale["max"] - scale["min"])
            self.scores.append(Scored(key, name, sign * judgment["value"], place[0], span))

    def add_labels(self, record: Record, prompt: tuple[Message, ...]) -> None:
        place = (prompt_key(record), canonical_json(record["context"]))
        for judgment in _of_type(record, "binary"):
            key = (*place, judgment["attribute"], record["annotator"]["kind"])
            self.labels.append(Labelled(key, self.item(record, prompt, judgment["cid"]), judgment["value"], place[0]))

    def ranking(self, record: Record, prompt: tuple[Message, ...], dropped: Counter[str]) -> list[Pair]:
        pairs = []
        for judgment in _of_type(record, "ranking"):
            tiers = [[self.item(record, prompt, cid) for cid in tier] for tier in judgment["tiers"]]
            converted = ranking_to_pairs(tiers, record["record_id"])
            dropped.update(converted.dropped)
            pairs += converted.pairs
        return pairs

    def comparison(self, pair: Pair, weight: float) -> Comparison:
        swap = pair.outcome == "b"
        first, second = self.items[pair.b if swap else pair.a], self.items[pair.a if swap else pair.b]
        tie = pair.outcome == "tie"
        return Comparison(
            messages=first.prompt,
            chosen=candidate_text(first.record, first.cid),
            rejected=candidate_text(second.record, second.cid),
            probability=0.5 if tie else 1.0,
            margin=float(pair.strength) / pair.scale,
            strength=float(pair.strength),
            weight=pair.weight * weight * _weight(first.record),
            group=pair.group,
            record_id=first.record["record_id"],
            source=first.record["provenance"]["source"],
            annotator_kind=first.record["annotator"]["kind"],
            tie=tie,
        )


def _pooled(pool: _Pool, rankings: list[Pair], dropped: Counter[str]) -> Iterator[Comparison]:
    for converted in (Converted(rankings), scores_to_pairs(pool.scores), binary_to_pairs(pool.labels)):
        dropped.update(converted.dropped)
        attributes = Counter(frozenset((pair.a, pair.b)) for pair in converted.pairs)
        for pair in converted.pairs:
            # one pair judged on several attributes counts once in all
            comparison = pool.comparison(pair, 1 / attributes[frozenset((pair.a, pair.b))])
            if comparison.chosen == comparison.rejected and not comparison.tie:
                dropped["identical completions"] += 1
            else:
                yield comparison


def comparisons(records: Iterable[Record]) -> Comparisons:
    """Every pair the records hold: pairwise judgments, rankings (CONV-02), scores (CONV-01), binary labels (CONV-08).

    A record gives comparisons from the first of these kinds it has; outcomes that name no winner and no tie (both_bad,
    incomparable, skip), media and kinds without a preference are counted in `dropped`. Order: pairs of pairwise records
    in record order, then those of rankings, scores and labels.
    """
    items: list[Comparison] = []
    dropped: Counter[str] = Counter()
    pool, rankings = _Pool(), list[Pair]()
    for record, prompt in _text_only(records, dropped):
        match _kind_used(record, dropped):
            case "pairwise":
                items += _from_pairwise(record, prompt, dropped)
            case "ranking":
                rankings += pool.ranking(record, prompt, dropped)
            case "score":
                pool.add_scores(record, prompt)
            case "binary":
                pool.add_labels(record, prompt)
    items += _pooled(pool, rankings, dropped)
    return Comparisons(items, dropped)


def labeled(records: Iterable[Record]) -> Labeled:
    """Completions called desirable or not: binary judgments as they are, and both sides of every decided pairwise one.

    Ties, rankings and scores say nothing absolute about a completion: counted in `dropped`.
    """
    items: list[LabeledCompletion] = []
    dropped: Counter[str] = Counter()
    for record, prompt in _text_only(records, dropped):
        found: list[tuple[str, bool, float]] = []
        for judgment in _of_type(record, "binary"):
            found.append((candidate_text(record, judgment["cid"]), judgment["value"], _weight(record)))
        for pair in _from_pairwise(record, prompt, dropped):
            if pair.tie:
                dropped["tie"] += 1
            else:
                found += [(pair.chosen, True, pair.weight), (pair.rejected, False, pair.weight)]
        if not _of_type(record, "binary") and not _of_type(record, "pairwise"):
            dropped[f"no label ({', '.join(sorted({j['type'] for j in record['judgments']}))})"] += 1
        for text, desirable, weight in found:
            source = record["provenance"]["source"]
            items.append(LabeledCompletion(prompt, text, desirable, weight, record["record_id"], source))
    return Labeled(items, dropped)


def _preferred(record: Record, prompt: tuple[Message, ...], dropped: Counter[str]) -> list[str]:
    texts = []
    for pair in _from_pairwise(record, prompt, dropped):
        if pair.tie:
            dropped["tie"] += 1
        else:
            texts.append(pair.chosen)
    for judgment in _of_type(record, "ranking"):
        if len(judgment["tiers"]) > 1:
            texts += [candidate_text(record, cid) for cid in judgment["tiers"][0]]
        else:
            dropped["ranking all tied"] += 1
    for judgment in _of_type(record, "binary"):
        if judgment["value"]:
            texts.append(candidate_text(record, judgment["cid"]))
        else:
            dropped["undesirable"] += 1
    return texts


def demonstrations(records: Iterable[Record]) -> Demonstrations:
    """The preferred completions: winners of pairs, best tiers of rankings, desirable labels; each (prompt, text) once.

    Ties, undesirable labels, kinds that prefer nothing, and repeats of a completion are counted in `dropped`.
    """
    items: list[Demonstration] = []
    dropped: Counter[str] = Counter()
    seen: set[tuple[str, str]] = set()
    for record, prompt in _text_only(records, dropped):
        if not any(_of_type(record, kind) for kind in ("pairwise", "ranking", "binary")):
            dropped[f"no preferred completion ({', '.join(sorted({j['type'] for j in record['judgments']}))})"] += 1
        for text in _preferred(record, prompt, dropped):
            key = (prompt_key(record), text)
            if key in seen:
                dropped["repeated completion"] += 1
                continue
            seen.add(key)
            items.append(Demonstration(prompt, text, record["record_id"], _weight(record)))
    return Demonstrations(items, dropped)


def _tiers(record: Record, prompt: tuple[Message, ...], dropped: Counter[str]) -> Iterator[list[list[str]]]:
    """The orders that a record states, as texts: each ranking, and each decided pair as a ranking of two."""
    for judgment in _of_type(record, "ranking"):
        if len(judgment["tiers"]) > 1:
            yield [[candidate_text(record, cid) for cid in tier] for tier in judgment["tiers"]]
        else:
            dropped["ranking all tied"] += 1
    for pair in _from_pairwise(record, prompt, dropped):
        if pair.tie:
            dropped["tie"] += 1
        else:
            yield [[pair.chosen], [pair.rejected]]


def ranked_lists(records: Iterable[Record]) -> RankedLists:
    """Every order of two or more completions: rankings with their ties, decided pairs as lists of two.

    Lists without an order (all tied) and kinds that order nothing are counted in `dropped`. A tier invents no order.
    """
    items: list[RankedList] = []
    dropped: Counter[str] = Counter()
    for record, prompt in _text_only(records, dropped):
        if not any(_of_type(record, kind) for kind in ("ranking", "pairwise")):
            dropped[f"no order ({', '.join(sorted({j['type'] for j in record['judgments']}))})"] += 1
        for tiers in _tiers(record, prompt, dropped):
            ordered = [(text, rank) for rank, tier in enumerate(tiers) for text in tier]
            texts, ranks = tuple(text for text, _ in ordered), tuple(rank for _, rank in ordered)
            items.append(RankedList(prompt, texts, ranks, record["record_id"], _weight(record)))
    return RankedLists(items, dropped)

"""Votes -> one consensus record per comparison. A new record, never an overwritten one."""

from __future__ import annotations

import copy
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.contract import load_spec
from components.errors import ParamsError, nearest
from components.feedback_curation.params import Aggregation
from components.records import Record, make_record, validate
from components.votes.ballots import BESIDE, COMPARING, Decision, Vote, votes
from components.votes.table import AGGREGATIONS

NOBODY = frozenset({"", "unknown"})
"""Ids of annotators that do not say who it was; `unknown` is what imports write where nobody is named."""
CODE = load_spec("feedback_curation").ref
"""What made a consensus, as its record says."""


@dataclass
class Aggregated:
    """Consensus records and records without a comparison, in order of first appearance."""

    records: list[Record] = field(default_factory=list)
    n_votes: Counter[int] = field(default_factory=Counter)
    """votes per comparison -> comparisons"""
    left_out: Counter[str] = field(default_factory=Counter)
    """what stays in the parents alone, by reason"""


def aggregate(records: Sequence[Record], params: Aggregation, run_id: str) -> Aggregated:
    """One record per comparison (and group of annotators); every other judgment goes on in a record of its own.

    Raises ParamsError for a weight whose name is neither an annotator kind nor a source of the data.
    """
    _check_weights(records, params.weights)
    out = Aggregated()
    polls = _polls(records, params, out.left_out)
    decisions = _decide(polls, params)
    for place, poll in polls.items():
        out.n_votes[len(poll)] += 1
        out.records.append(consensus(poll, decisions[place], params, run_id))
    for record in records:
        if rest := _without_comparisons(record, params.weights, run_id, out.left_out):
            out.records.append(rest)
    for record in out.records:
        validate(record)
    return out


Place = tuple[str, tuple[str, ...]]  # (group of annotators, comparison)


def _polls(records: Iterable[Record], params: Aggregation, left_out: Counter[str]) -> dict[Place, list[Vote]]:
    """The votes of a group on a comparison, in order of first appearance; skips are counted.

    One annotator counts once per comparison, by the first vote, as in the study of agreement; repeats are counted.
    An annotator without a name is nobody in particular: such votes may be those of as many people.
    """
    polls: dict[Place, list[Vote]] = defaultdict(list)
    for vote in votes(records):
        poll = polls[vote.kind if params.groups == "kind" else "all", vote.key]
        if vote.outcome == "skip":
            left_out["skipped vote"] += 1
        elif vote.annotator not in NOBODY and any(_who(vote) == _who(other) for other in poll):
            left_out["repeated vote of an annotator"] += 1
        else:
            poll.append(vote)
    return {place: poll for place, poll in polls.items() if poll}


def _who(vote: Vote) -> tuple[str, str]:
    return vote.kind, vote.annotator


def _decide(polls: Mapping[Place, list[Vote]], params: Aggregation) -> dict[Place, Decision]:
    """What the chosen rule makes of every poll. A rule sees all polls of a group at once, and no other group's."""
    rule = AGGREGATIONS.bind(params.method)
    by_group: dict[str, list[Place]] = defaultdict(list)
    for place in polls:
        by_group[place[0]].append(place)
    return {
        place: decision
        for places in by_group.values()
        for place, decision in zip(places, rule([polls[place] for place in places]), strict=True)
    }


def _check_weights(records: Iterable[Record], weights: dict[str, float]) -> None:
    known = {record["annotator"]["kind"] for record in records} | {r["provenance"]["source"] for r in records}
    for name in weights:
        if name not in known:
            raise ParamsError(
                f"aggregation.weights.{name}: no annotator kind or source of the data.{nearest(name, known)}"
            )


def _weight(record: Record, weights: dict[str, float]) -> float:
    kind, source = record["annotator"]["kind"], record["provenance"]["source"]
    return float(record["quality"].get("weight", 1.0)) * weights.get(kind, 1.0) * weights.get(source, 1.0)


def _strength(cast: Sequence[Vote], outcome: str) -> dict[str, Any]:
    """Mean signed strength of the votes that gave one on the same scale, if it points to the winner."""
    given = [(vote.outcome, *vote.strength) for vote in cast if vote.strength is not None]
    if len({scale for _, _, scale in given}) != 1:
        return {}
    sign = {"a": 1, "b": -1}
    mean = sum(sign.get(side, 0) * strength for side, strength, _ in given) / len(given)
    if outcome not in sign or mean * sign[outcome] < 0:
        return {}
    return {"strength": abs(mean), "strength_scale": [0, given[0][2]]}


def consensus(cast: Sequence[Vote], decision: Decision, params: Aggregation, run_id: str) -> Record:
    """The consensus record: its pair, the distribution of the votes with their number, and all voters as parents."""
    first = cast[0]
    outcome, p_a = decision
    judgment: dict[str, Any] = {"type": "pairwise", "a": "a", "b": "b", "outcome": outcome}
    if p_a is not None:
        judgment["p_a"] = p_a
    judgment |= _strength(cast, outcome)
    if first.key[2]:
        judgment["criterion"] = first.key[2]
    if len(cast) == 1 and first.shown_first:
        judgment["shown_order"] = ["a", "b"] if first.shown_first == "a" else ["b", "a"]
    counts = Counter(vote.outcome for vote in cast)
    options = [*COMPARING, *sorted(BESIDE & set(counts))]
    shares = [counts[name] / len(cast) for name in options]
    candidates = {candidate["cid"]: candidate for candidate in first.record["candidates"]}
    sides = [{**copy.deepcopy(candidates[cid]), "cid": side} for cid, side in zip(first.cids, "ab")]
    return make_record(
        task=first.record["task"],
        context=first.record["context"],
        candidates=sides,
        judgments=[judgment, {"type": "distribution", "over": options, "probs": shares, "n": len(cast)}],
        annotator=_annotator(cast, params),
        quality=_quality(sum(_weight(vote.record, params.weights) for vote in cast) / len(cast)),
        provenance=_provenance([vote.record for vote in cast], run_id),
    )


def _quality(weight: float) -> dict[str, Any]:
    return {"parse_ok": True} if weight == 1.0 else {"parse_ok": True, "weight": round(weight, 12)}


def _joined(values: Iterable[str]) -> str:
    return " + ".join(sorted({value for value in values if value}))


def _annotator(cast: Sequence[Vote], params: Aggregation) -> dict[str, Any]:
    """The annotator of a single vote, else the group: of mixed kinds it is the rule that counted them."""
    if len(cast) == 1:
        return copy.deepcopy(cast[0].record["annotator"])
    people = [vote.record["annotator"] for vote in cast]
    kinds = sorted({person["kind"] for person in people})
    revision = _joined(person.get("revision", "") for person in people)
    instructions = _joined(person["instructions_rev"] for person in people)
    if len(kinds) > 1:
        revision, instructions = f"{CODE} {params.method.name}@{params.method.revision}", instructions or "mixed"
    return {
        "id": f"consensus:{'+'.join(kinds)}",
        "kind": kinds[0] if len(kinds) == 1 else "heuristic",
        "groups": kinds if len(kinds) > 1 else [],
        "instructions_rev": instructions,
        **({"revision": revision} if revision else {}),
    }


def _provenance(parents: Sequence[Record], run_id: str) -> dict[str, Any]:
    origins = [parent["provenance"] for parent in parents]
    personal = {origin.get("pii") for origin in origins}
    pii = "present" if "present" in personal else personal.pop() if len(personal) == 1 else None
    return {
        "source": _joined(origin["source"] for origin in origins),
        "license": _joined(origin["license"] for origin in origins),
        "created_at": max(origin["created_at"] for origin in origins),
        "run_id": run_id,
        "code_rev": CODE,
        "parents": sorted({parent["record_id"] for parent in parents}),
        **({"pii": pii} if pii else {}),
    }


def _without_comparisons(
    record: Record, weights: dict[str, float], run_id: str, left_out: Counter[str]
) -> Record | None:
    """The judgments that are not comparisons, as a record; rationales stay behind with what they explain."""
    rest = [judgment for judgment in record["judgments"] if judgment["type"] != "pairwise"]
    if len(rest) == len(record["judgments"]):
        kept = copy.deepcopy(record)
        kept["quality"] |= _quality(_weight(record, weights))
        return kept
    left_out["rationale"] += sum(judgment["type"] == "rationale" for judgment in rest)
    rest = [judgment for judgment in rest if judgment["type"] != "rationale"]
    if not rest:
        return None
    return make_record(
        task=record["task"],
        context=record["context"],
        candidates=record["candidates"],
        judgments=rest,
        annotator=record["annotator"],
        quality=record["quality"] | _quality(_weight(record, weights)),
        provenance=_provenance([record], run_id),
    )

"""The invariants of a feedback record, one named rule each.

A rule takes a valid-so-far record and the span labels its data set declares (None: not declared here), and yields
(field, what is wrong) pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import pairwise
from typing import Any

from components.errors import RecordError
from components.records.canonical import canonical_json, record_id
from components.records.schema import (
    RECORD,
    SCHEMA_VERSION,
    Problem,
    Record,
    is_moment,
    judgment_problems,
    shape_problems,
)

Labels = Collection[str] | None
Rule = Callable[[Record, Labels], Iterator[Problem]]
RULES: dict[str, Rule] = {}

_HUMAN = ("human", "in_situ_user")


def _rule(function: Rule) -> Rule:
    RULES[function.__name__] = function
    return function


def validate(record: Record, *, span_labels: Labels = None) -> None:
    """Raise RecordError (with `rule` and `field`) for the first rule the record breaks."""
    for name, rule in RULES.items():
        for field, what in rule(record, span_labels):
            who = record.get("record_id") if isinstance(record, dict) else None
            where = f"record {who[:12]}" if isinstance(who, str) else "record"
            raise RecordError(f"{where}: {field} {what}", rule=name, field=field)


def judgments_of(record: Record, *kinds: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for i, judgment in enumerate(record["judgments"]):
        if judgment["type"] in kinds:
            yield f"judgments[{i}]", judgment


def candidates_of(record: Record) -> dict[str, dict[str, Any]]:
    return {candidate["cid"]: candidate for candidate in record["candidates"]}


def _content(record: Record, cid: str) -> str:
    return canonical_json(candidates_of(record)[cid]["parts"])


@_rule
def structure(record: Record, labels: Labels) -> Iterator[Problem]:
    """Every field is there with its type, and there is no unknown field."""
    yield from shape_problems(RECORD, record, "")
    for i, judgment in enumerate(record["judgments"]):
        yield from judgment_problems(judgment, f"judgments[{i}]")


@_rule
def schema_version(record: Record, labels: Labels) -> Iterator[Problem]:
    """The record says the schema version that this code reads."""
    if record["schema_version"] != SCHEMA_VERSION:
        yield "schema_version", f"must be {SCHEMA_VERSION} (got {record['schema_version']!r}). Convert the file first."


@_rule
def canonical(record: Record, labels: Labels) -> Iterator[Problem]:
    """The record has a canonical JSON text: finite numbers, portable integers, valid Unicode."""
    try:
        canonical_json(record)
    except RecordError as error:
        yield "record", f"has no canonical text: {error}"


@_rule
def record_id_recomputes(record: Record, labels: Labels) -> Iterator[Problem]:
    """The record id is the content address of the record."""
    found = record_id(record)
    if record["record_id"] != found:
        yield (
            "record_id",
            f"is not the content's (got {record['record_id']!r}, content {found}). Leave it out on import.",
        )


@_rule
def prompt_not_empty(record: Record, labels: Labels) -> Iterator[Problem]:
    """There is at least one prompt message, none of them is blank, and a system message comes first."""
    rows = record["task"]["messages"]
    if not rows:
        yield "task.messages", "is empty (got []). Give the prompt."
    for i, message in enumerate(rows):
        if _blank(message["parts"]):
            yield f"task.messages[{i}]", "is blank (got no text and no media). Remove the message or give its text."
        if message["role"] == "system" and (i > 0 or record["task"].get("system")):
            yield f"task.messages[{i}]", "is a second or late system message (got role system). Put it first, once."


@_rule
def candidate_not_empty(record: Record, labels: Labels) -> Iterator[Problem]:
    """There is at least one candidate, and no candidate is blank."""
    if not record["candidates"]:
        yield "candidates", "is empty (got []). Give at least one completion."
    for i, candidate in enumerate(record["candidates"]):
        if _blank(candidate["parts"]):
            yield f"candidates[{i}].parts", "is blank (got no text and no media). An empty completion cannot be judged."


def _blank(parts: list[dict[str, Any]]) -> bool:
    return not any(part["type"] != "text" or part.get("text", "").strip() for part in parts)


@_rule
def parts_complete(record: Record, labels: Labels) -> Iterator[Problem]:
    """A text part has its text, a media part has its uri or sha256."""
    owners = [(f"task.messages[{i}]", m["parts"]) for i, m in enumerate(record["task"]["messages"])]
    owners += [(f"candidates[{i}]", c["parts"]) for i, c in enumerate(record["candidates"])]
    for where, parts in owners:
        for i, part in enumerate(parts):
            needs = ("text",) if part["type"] == "text" else ("uri", "sha256")
            if not any(name in part for name in needs):
                yield f"{where}.parts[{i}]", f"has no {' or '.join(needs)} (got {sorted(part)}). Add it."


@_rule
def cids_unique(record: Record, labels: Labels) -> Iterator[Problem]:
    """No two candidates have the same cid."""
    if len(candidates_of(record)) < len(record["candidates"]):
        cids = [candidate["cid"] for candidate in record["candidates"]]
        yield "candidates", f"repeats a cid (got {cids}). Name each candidate once."


@_rule
def cids_exist(record: Record, labels: Labels) -> Iterator[Problem]:
    """Every cid that a judgment names is a candidate of the record."""
    known = candidates_of(record)
    for where, judgment in judgments_of(record, *_CIDS):
        for cid in _CIDS[judgment["type"]](judgment):
            if cid not in known:
                yield where, f"names a candidate that is not there (got {cid!r}). Known: {', '.join(known)}."


_CIDS: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "pairwise": lambda j: [j["a"], j["b"], *j.get("shown_order", [])],
    "ranking": lambda j: [cid for tier in j["tiers"] for cid in tier],
    "critique": lambda j: [*([j["cid"]] if "cid" in j else []), *j.get("pair", [])],
    "edit": lambda j: [j["from"], j["to"]],
    **dict.fromkeys(
        ("score", "binary", "span", "step", "token", "checklist", "implicit", "hindsight", "trace"),
        lambda j: [j["cid"]],
    ),
}


@_rule
def sides_differ(record: Record, labels: Labels) -> Iterator[Problem]:
    """The two sides of a comparison or edit are two candidates (a != b)."""
    for where, judgment in judgments_of(record, "pairwise", "joint", "edit"):
        first, second = ("from", "to") if judgment["type"] == "edit" else ("a", "b")
        if judgment[first] == judgment[second]:
            yield where, f"compares a candidate with itself (got {judgment[first]!r}). Name two candidates."


@_rule
def shown_order_is_the_pair(record: Record, labels: Labels) -> Iterator[Problem]:
    """The shown order lists the two compared candidates."""
    for where, judgment in judgments_of(record, "pairwise"):
        order = judgment.get("shown_order")
        if order is not None and sorted(order) != sorted((judgment["a"], judgment["b"])):
            yield f"{where}.shown_order", f"must list a and b in the order shown (got {order}). Or leave it out."


@_rule
def combined_of_its_orders(record: Record, labels: Labels) -> Iterator[Problem]:
    """A combined judgment sums up others of the same pair, each once and none of them combined; it was never shown."""
    rows = record["judgments"]
    for where, judgment in judgments_of(record, "pairwise"):
        if "combined_of" not in judgment:
            continue
        of = judgment["combined_of"]
        parts = [rows[i] for i in of if 0 <= i < len(rows) and rows[i] is not judgment]
        if not of or len(parts) < len(of) or len(set(of)) < len(of):
            yield f"{where}.combined_of", f"must list other judgments, each once (got {of}). Count them from 0."
        elif any(
            part["type"] != "pairwise" or "combined_of" in part or _pair(part) != _pair(judgment) for part in parts
        ):
            yield f"{where}.combined_of", f"names what is no uncombined judgment of this pair (got {of}). Correct it."
        if "shown_order" in judgment:
            yield f"{where}.shown_order", "stands beside combined_of (got both). Each order has a judgment of its own."


def _pair(judgment: dict[str, Any]) -> tuple[set[str], Any]:
    return {judgment["a"], judgment["b"]}, judgment.get("criterion")


@_rule
def tiers_disjoint(record: Record, labels: Labels) -> Iterator[Problem]:
    """No candidate stands twice in a ranking, and no tier is empty."""
    for where, judgment in judgments_of(record, "ranking"):
        ranked = [cid for tier in judgment["tiers"] for cid in tier]
        if len(ranked) != len(set(ranked)):
            yield f"{where}.tiers", f"ranks a candidate twice (got {judgment['tiers']}). Rank each one once."
        if not ranked or not all(judgment["tiers"]):
            yield f"{where}.tiers", f"has an empty tier (got {judgment['tiers']}). Remove it."


@_rule
def complete_ranking_ranks_all(record: Record, labels: Labels) -> Iterator[Problem]:
    """A ranking that calls itself complete ranks every candidate; top_k is not more than there are."""
    for where, judgment in judgments_of(record, "ranking"):
        ranked = {cid for tier in judgment["tiers"] for cid in tier}
        if judgment["complete"] and ranked != set(candidates_of(record)):
            yield f"{where}.complete", f"leaves candidates out (got {sorted(ranked)}). Set complete to false."
        if not 1 <= judgment.get("top_k", 1) <= len(record["candidates"]):
            yield f"{where}.top_k", f"must be 1..{len(record['candidates'])} (got {judgment['top_k']}). Fix it."


@_rule
def tie_has_even_probability(record: Record, labels: Labels) -> Iterator[Problem]:
    """A tie has no p_a, or p_a = 0.5."""
    for where, judgment in judgments_of(record, "pairwise"):
        if judgment["outcome"] == "tie" and judgment.get("p_a", 0.5) != 0.5:
            yield f"{where}.p_a", f"must be 0.5 for a tie (got {judgment['p_a']}). Leave it out, or name the winner."


@_rule
def probability_agrees_with_outcome(record: Record, labels: Labels) -> Iterator[Problem]:
    """p_a > 0.5 exactly if the outcome is a, p_a < 0.5 exactly if it is b."""
    for where, judgment in judgments_of(record, "pairwise"):
        p, outcome = judgment.get("p_a"), judgment["outcome"]
        if p is not None and ((p > 0.5) != (outcome == "a") or (p < 0.5) != (outcome == "b")):
            yield f"{where}.p_a", f"contradicts the outcome (got p_a {p}, outcome {outcome}). Fix one of them."


@_rule
def probabilities_in_range(record: Record, labels: Labels) -> Iterator[Problem]:
    """Probabilities and confidences lie in [0, 1]."""
    named = [
        (f"{w}.{k}", j[k]) for w, j in judgments_of(record, "pairwise", "implicit") for k in ("p_a", "p") if k in j
    ]
    if "confidence" in record["quality"]:
        named.append(("quality.confidence", record["quality"]["confidence"]))
    for field, value in named:
        if not 0 <= value <= 1:
            yield field, f"must be in 0..1 (got {value}). Give a probability."


@_rule
def distribution_sums_to_one(record: Record, labels: Labels) -> Iterator[Problem]:
    """A distribution has one probability per option, none negative, and they sum to 1."""
    for where, judgment in judgments_of(record, "distribution"):
        probs = judgment["probs"]
        if len(probs) != len(judgment["over"]) or any(p < 0 for p in probs) or abs(sum(probs) - 1) > 1e-6:
            yield f"{where}.probs", f"must be one share per option, summing to 1 (got {probs}). Normalise per question."


@_rule
def value_within_scale(record: Record, labels: Labels) -> Iterator[Problem]:
    """A score lies within its scale, and the scale is not empty."""
    for where, judgment in judgments_of(record, "score"):
        low, high = judgment["scale"]["min"], judgment["scale"]["max"]
        if not low < high:
            yield f"{where}.scale", f"must have min < max (got {low}..{high}). Give the scale the annotator used."
        elif not low <= judgment["value"] <= high:
            yield f"{where}.value", f"must be in {low}..{high} (got {judgment['value']}). Fix the value or the scale."


@_rule
def strength_within_scale(record: Record, labels: Labels) -> Iterator[Problem]:
    """A strength comes with its scale [0, S] and lies in it."""
    for where, judgment in judgments_of(record, "pairwise"):
        if "strength" not in judgment:
            continue
        scale = judgment.get("strength_scale")
        if scale is None or scale[0] != 0 or scale[1] <= 0:
            yield f"{where}.strength_scale", f"must be [0, S] beside a strength (got {scale}). Give the scale."
        elif not 0 <= judgment["strength"] <= scale[1]:
            yield f"{where}.strength", f"must be in 0..{scale[1]} (got {judgment['strength']}). Fix it or the scale."


@_rule
def spans_inside_text(record: Record, labels: Labels) -> Iterator[Problem]:
    """A span is not empty and lies inside the text part it marks (offsets in code points)."""
    for where, judgment in judgments_of(record, "span"):
        parts = candidates_of(record)[judgment["cid"]]["parts"]
        if not 0 <= judgment["part"] < len(parts) or parts[judgment["part"]]["type"] != "text":
            yield f"{where}.part", f"is not a text part (got {judgment['part']}). Parts are counted from 0."
            continue
        length = len(parts[judgment["part"]]["text"])
        if not 0 <= judgment["start"] < judgment["end"] <= length:
            got = f"{judgment['start']}..{judgment['end']}"
            yield where, f"must be a non-empty range within 0..{length} code points (got {got}). Fix the offsets."


@_rule
def span_labels_declared(record: Record, labels: Labels) -> Iterator[Problem]:
    """Every span label is one that the data set declares (checked where a declaration is given)."""
    if labels is None:
        return
    for where, judgment in judgments_of(record, "span"):
        if judgment["label"] not in labels:
            declared = ", ".join(sorted(labels)) or "none"
            yield f"{where}.label", f"is not declared (got {judgment['label']!r}). Declared: {declared}."


@_rule
def steps_ordered(record: Record, labels: Labels) -> Iterator[Problem]:
    """Steps are non-empty, in order, do not overlap, and end inside the text."""
    for where, judgment in judgments_of(record, "step"):
        text = "".join(part.get("text", "") for part in candidates_of(record)[judgment["cid"]]["parts"])
        ranges = [(step["start"], step["end"]) for step in judgment["steps"]]
        inside = all(0 <= start < end <= len(text) for start, end in ranges)
        if not inside or any(left[1] > right[0] for left, right in pairwise(ranges)):
            yield f"{where}.steps", f"must be ordered ranges within 0..{len(text)} (got {ranges}). Fix the offsets."


@_rule
def identical_candidates_tie(record: Record, labels: Labels) -> Iterator[Problem]:
    """Candidates with the same content can only tie (or be skipped)."""
    for where, judgment in judgments_of(record, "pairwise"):
        same = _content(record, judgment["a"]) == _content(record, judgment["b"])
        if same and judgment["outcome"] not in ("tie", "skip"):
            yield where, f"prefers one of two identical candidates (got outcome {judgment['outcome']}). Drop the pair."
    for where, judgment in judgments_of(record, "ranking"):
        tiers = [{_content(record, cid) for cid in tier} for tier in judgment["tiers"]]
        if sum(map(len, tiers)) != len(set().union(*tiers)):
            yield where, f"ranks identical candidates apart (got {judgment['tiers']}). Put them in one tier."


@_rule
def rationale_has_its_judgment(record: Record, labels: Labels) -> Iterator[Problem]:
    """A rationale points at another judgment of the record; a critique is of one candidate or of one pair."""
    for where, judgment in judgments_of(record, "rationale"):
        of = judgment["of"]
        if not 0 <= of < len(record["judgments"]) or record["judgments"][of] is judgment:
            yield f"{where}.of", f"is not another judgment (got {of}). Judgments are counted from 0."
    for where, judgment in judgments_of(record, "critique"):
        if ("cid" in judgment) == ("pair" in judgment):
            yield where, f"must have either cid or pair (got {sorted(judgment)}). Keep one of them."


@_rule
def has_parsed_judgment(record: Record, labels: Labels) -> Iterator[Problem]:
    """There is a judgment and it was parsed: an answer that could not be read is quarantined, never guessed."""
    if not record["judgments"]:
        yield "judgments", "is empty (got []). A record without a judgment is no feedback."
    if not record["quality"]["parse_ok"]:
        yield "quality.parse_ok", "is false (got an answer that could not be parsed). Ask the judge again."


@_rule
def training_weight_positive(record: Record, labels: Labels) -> Iterator[Problem]:
    """A training weight is above 0."""
    if record["quality"].get("weight", 1.0) <= 0:
        yield "quality.weight", f"must be above 0 (got {record['quality']['weight']}). Leave the record out instead."


@_rule
def source_and_licence_given(record: Record, labels: Labels) -> Iterator[Problem]:
    """Source, licence and annotator id are not blank (`unknown` is an honest answer, nothing is not)."""
    for owner, name in (("provenance", "source"), ("provenance", "license"), ("annotator", "id")):
        if not record[owner][name].strip():
            yield f"{owner}.{name}", "is blank (got ''). Write it, or 'unknown'."


@_rule
def created_at_is_iso_8601(record: Record, labels: Labels) -> Iterator[Problem]:
    """The time of a record is ISO 8601, or blank where it is not known."""
    said = record["provenance"]["created_at"]
    if said and not is_moment(said):
        yield "provenance.created_at", f"must be ISO 8601 (got {said!r}). For example 2025-03-01T09:00:00Z."


@_rule
def machine_annotator_reproducible(record: Record, labels: Labels) -> Iterator[Problem]:
    """A non-human annotator says its revision and the revision of its instructions."""
    annotator = record["annotator"]
    if annotator["kind"] not in _HUMAN:
        for name in ("revision", "instructions_rev"):
            if not annotator.get(name, "").strip():
                yield f"annotator.{name}", f"is missing for kind {annotator['kind']} (got nothing). Name the revision."


@_rule
def machine_generator_named(record: Record, labels: Labels) -> Iterator[Problem]:
    """A candidate that no human wrote says the name and revision of its generator."""
    for i, candidate in enumerate(record["candidates"]):
        for name in ("name", "revision"):
            if candidate["generator"]["kind"] != "human" and not candidate["generator"][name].strip():
                yield f"candidates[{i}].generator.{name}", "is blank (got ''). Name it, or write 'unknown'."

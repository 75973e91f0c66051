"""Read the feedback sets, refuse what breaks a rule, and keep one of every exact duplicate."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.contract import Input
from components.errors import RecordError
from components.records import Record, canonical_json, prompt_key, read_lines, validate

RAW_LIMIT = 500


@dataclass
class Collected:
    """Valid records without exact duplicates, set by set (see `in_order`), and what else there was."""

    records: list[Record] = field(default_factory=list)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    imported: list[dict[str, Any]] = field(default_factory=list)
    """quarantine rows of the steps before"""
    n_read: int = 0
    n_duplicates: int = 0


def in_order(feedback: Sequence[Input]) -> list[Input]:
    """The largest set first, of equal ones by source: an order that what is in the sets decides.

    Content ids would not do: they change with the run that made a set, and the order of training with them.
    """

    def place(source: Input) -> tuple[int, list[str], str]:
        summary = json.loads((source.path / "summary.json").read_text(encoding="utf-8"))
        return -int(summary["n_records"]), sorted(summary["by_source"]), source.id

    return sorted(feedback, key=place)


def collect(feedback: Sequence[Input], span_labels: tuple[str, ...]) -> Collected:
    """Every record of every feedback set is kept, quarantined with its rule, or counted as a duplicate."""
    found = Collected()
    seen: set[str] = set()
    for source in in_order(feedback):
        found.imported += read_lines(source.path / "quarantine.jsonl")
        for line, record in enumerate(read_lines(source.path / "records.jsonl"), start=1):
            found.n_read += 1
            try:
                validate(record, span_labels=span_labels or None)
            except RecordError as error:
                found.quarantine.append(quarantined(f"{source.id[:8]}/records.jsonl", line, error, record))
                continue
            key = duplicate_key(record)
            if key in seen:
                found.n_duplicates += 1
                continue
            seen.add(key)
            found.records.append(record)
    return found


def quarantined(file: str, line: int, error: RecordError, record: Any) -> dict[str, Any]:
    """A quarantine row for a record."""
    raw = str(record)[:RAW_LIMIT]
    return {"file": file, "line": line, "field": error.field, "rule": error.rule, "reason": str(error), "raw": raw}


def duplicate_key(record: Record) -> str:
    """Exact duplicates agree on prompt, context, candidates' content, judgments and annotator, not source or time."""
    parts = [{"cid": c["cid"], "parts": c["parts"]} for c in record["candidates"]]
    return canonical_json(
        [prompt_key(record), record["context"], parts, record["judgments"], record["annotator"]["id"]]
    )


_SPACE_OR_MARK = re.compile(r"[\W_]+")


def normal(text: str) -> str:
    """Text without case, punctuation, spacing and Unicode forms: what near-identical texts share."""
    return _SPACE_OR_MARK.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def _texts(record: Record) -> tuple[str, list[str]]:
    prompt = " ".join(part.get("text", "") for m in record["task"]["messages"] for part in m["parts"])
    return prompt, ["".join(part.get("text", "") for part in c["parts"]) for c in record["candidates"]]


def near_identical(splits: Mapping[str, Iterable[Record]]) -> dict[str, int]:
    """Counts only: what differs by case, punctuation or spacing alone.

    `comparisons`: records whose prompt and candidates repeat another record's; `candidates`: records whose own
    candidates repeat each other; `prompts_across_splits`: validation or test prompts that repeat a training prompt.
    """
    counts = Counter(comparisons=0, candidates=0, prompts_across_splits=0)
    exact: dict[tuple[Any, ...], set[tuple[Any, ...]]] = {}
    prompts: dict[str, set[tuple[str, str]]] = {}
    for split, record in _flat(splits):
        prompt, candidates = _texts(record)
        near = (normal(prompt), *sorted(map(normal, candidates)))
        exact.setdefault(near, set()).add((prompt, *sorted(candidates)))
        counts["candidates"] += len(set(near[1:])) < len(set(candidates))
        prompts.setdefault(split, set()).add((near[0], prompt))
    counts["comparisons"] = sum(len(texts) - 1 for texts in exact.values())
    trained = {near for near, _ in prompts.get("train", ())}
    held_out = prompts.get("validation", set()) | prompts.get("test", set())
    counts["prompts_across_splits"] = sum(near in trained for near, _ in held_out)
    return dict(counts)


def _flat(splits: Mapping[str, Iterable[Record]]) -> Iterator[tuple[str, Record]]:
    for split, records in splits.items():
        for record in records:
            yield split, record

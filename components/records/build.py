"""Make records: defaults filled in, content address computed."""

from __future__ import annotations

from typing import Any

from components.records.canonical import record_id
from components.records.schema import FIELDS, SCHEMA_VERSION, Record

UNKNOWN = "unknown"  # written where a source does not say; an empty field would look like an oversight


def simple_task(messages: list[dict[str, str]] | str, lang: str = "en", **extra: Any) -> dict[str, Any]:
    """A text task from chat messages [{role, content}] or one user prompt. `extra`: further task fields."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    rows = [{"role": m["role"], "parts": [{"type": "text", "text": m["content"]}]} for m in messages]
    return {"messages": rows, "lang": lang, "tags": [], **extra}


def text_candidate(
    cid: str,
    text: str,
    *,
    kind: str = "model",
    name: str = UNKNOWN,
    revision: str = UNKNOWN,
    params: dict[str, Any] | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """A text candidate. `extra`: `prompt_variant` and `seed` go to its generator, the rest to the candidate."""
    generator = {"kind": kind, "name": name or UNKNOWN, "revision": revision or UNKNOWN, "params": params or {}}
    generator |= {key: extra.pop(key) for key in ("prompt_variant", "seed") if key in extra}
    parts = [{"type": "text", "text": text}]
    return {"cid": cid, "parts": parts, "generator": generator, "truncated": False, **extra}


def complete(record: Record) -> Record:
    """A copy with every default filled in and, if it was absent, the record id. Given values are never changed."""
    out = _own(record)
    out.setdefault("schema_version", SCHEMA_VERSION)
    _fill(out.get("task"), lang=UNKNOWN, tags=[])
    if out.get("context") is None:
        out["context"] = {}
    if isinstance(out.get("candidates"), list):
        for candidate in out["candidates"]:
            _fill(candidate, truncated=False)
    _fill(out.get("annotator"), groups=[], instructions_rev="", ui_rev="")
    if out.get("quality") is None:
        out["quality"] = {}
    _fill(out["quality"], parse_ok=True)
    blank = dict.fromkeys(("split", "created_at", "run_id", "code_rev", "data_rev"), "")
    _fill(out.get("provenance"), license=UNKNOWN, parents=[], **blank)
    if "record_id" not in out and _identifiable(out):
        out["record_id"] = record_id(out)
    return {name: out[name] for name in FIELDS if name in out} | {k: v for k, v in out.items() if k not in FIELDS}


def _own(record: Record) -> Record:
    """The record with mappings of its own wherever a default may be filled in; what lies below is shared."""
    out = {name: dict(value) if isinstance(value, dict) else value for name, value in record.items()}
    if isinstance(out.get("candidates"), list):
        out["candidates"] = [dict(item) if isinstance(item, dict) else item for item in out["candidates"]]
    return out


def _identifiable(record: Record) -> bool:
    """Everything the content address covers is there; what is not is for `validate` to name."""
    named = all(key in record for key in ("task", "candidates", "judgments"))
    owners = (("annotator", "id"), ("provenance", "source"))
    return named and all(isinstance(record.get(owner), dict) and key in record[owner] for owner, key in owners)


def _fill(mapping: Any, **defaults: Any) -> None:
    if isinstance(mapping, dict):
        for key, value in defaults.items():
            mapping.setdefault(key, value)


def make_record(
    *,
    task: dict[str, Any],
    candidates: list[dict[str, Any]],
    judgments: list[dict[str, Any]],
    annotator: dict[str, Any],
    provenance: dict[str, Any],
    context: dict[str, Any] | None = None,
    quality: dict[str, Any] | None = None,
) -> Record:
    """A complete FMT-00 record. `annotator` needs id and kind, `provenance` needs source; the rest has defaults.

    It is not validated here: call `validate`, so that a bad record can be quarantined with its reason.
    """
    parts = {"task": task, "context": context, "candidates": candidates, "judgments": judgments}
    return complete({**parts, "annotator": annotator, "quality": quality, "provenance": provenance})

"""What identifies a prompt, and the texts of a record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.errors import RecordError
from components.records.canonical import sha256
from components.records.schema import Record

Message = dict[str, Any]


def _text(parts: Sequence[Mapping[str, Any]]) -> str | None:
    """The text of text-only parts, else None."""
    if any(part["type"] != "text" for part in parts):
        return None
    return "".join(part["text"] for part in parts)


def _text_or_refuse(parts: Sequence[Mapping[str, Any]], where: str) -> str:
    text = _text(parts)
    if text is None:
        kinds = ", ".join(sorted({part["type"] for part in parts}))
        raise RecordError(
            f"{where}: holds parts that are not text (got {kinds}). Use it with a multimodal step, or leave it out.",
            rule="text_only",
            field=where,
        )
    return text


def messages(record: Record) -> list[Message]:
    """The prompt as [{role, content}], the system text first if there is one. Raises RecordError for media parts."""
    task = record["task"]
    rows: list[Message] = [{"role": "system", "content": task["system"]}] if task.get("system") else []
    for i, message in enumerate(task["messages"]):
        content = _text_or_refuse(message["parts"], f"task.messages[{i}]")
        rows.append({"role": message["role"], "content": content})
    return rows


def prompt_messages(record_or_messages: Record | Sequence[Message]) -> list[Message]:
    """Role and content of a prompt's messages, the system text first; the content is its parts where they are media."""
    if not isinstance(record_or_messages, dict):
        return [{"role": m["role"], "content": m["content"]} for m in record_or_messages]
    task = record_or_messages["task"]
    rows: list[Message] = [{"role": "system", "content": task["system"]}] if task.get("system") else []
    for message in task["messages"]:
        text = _text(message["parts"])
        rows.append({"role": message["role"], "content": message["parts"] if text is None else text})
    return rows


def prompt_key(record_or_messages: Record | Sequence[Message]) -> str:
    """sha256 (hex) of the canonical messages: role and content only, no normalisation of the text."""
    return sha256(prompt_messages(record_or_messages))


def split_of(share: float, *, validation: float, test: float) -> str:
    """`test` below `test`, `validation` in the next `validation`, else `train`."""
    if share < test:
        return "test"
    return "validation" if share < test + validation else "train"


def candidate(record: Record, cid: str) -> dict[str, Any]:
    """One candidate by its id. Raises RecordError (rule `cids_exist`)."""
    for item in record["candidates"]:
        if item["cid"] == cid:
            found: dict[str, Any] = item
            return found
    known = ", ".join(item["cid"] for item in record["candidates"])
    raise RecordError(f"candidates: no candidate '{cid}'. Known: {known}.", rule="cids_exist", field="candidates")


def candidate_text(record: Record, cid: str) -> str:
    """The text of one candidate. Raises RecordError for media parts or an unknown cid."""
    return _text_or_refuse(candidate(record, cid)["parts"], f"candidates[{cid}]")

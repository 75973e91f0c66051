"""Columns that hold chat messages: lists, or lists that a table made text of; with parts, nulls and empty fields."""

from __future__ import annotations

import ast
import re
from typing import Any

from components.contract.json_text import parse_json
from components.errors import RecordError
from components.records.importers.columns import got, refuse, said

Messages = list[dict[str, str]]
_WRITTEN = re.compile(r"""\s*(array\(\s*)?\[\s*\{\s*["'](role|content|from|value)["']\s*:""")
_LONGEST = 4 << 20  # a text that Python reads as a literal
# what may stand beside role and content without changing what is said
_ABOUT = frozenset({"id", "index", "timestamp", "created_at", "time", "model", "source", "lang", "message_id"})
_EMPTY: tuple[Any, ...] = (None, "", [], {})
# ShareGPT's names; the others are those of the record format
_ROLES = {"human": "user", "gpt": "assistant", "system": "system", "user": "user", "assistant": "assistant"}


def holds_chat(value: Any) -> bool:
    """Whether a column holds a list, or the text of a list of messages."""
    return isinstance(value, list) or (isinstance(value, str) and bool(_WRITTEN.match(value)))


def chat(row: dict[str, Any], name: str, ignored: tuple[str, ...] = ()) -> Messages:
    """A column that holds chat messages [{role, content}], also as JSON or Python text. Null fields are absent."""
    value = row[name]
    if isinstance(value, str) and _WRITTEN.match(value):
        value = _unwritten(value, name)
    if not isinstance(value, list) or not value:
        raise refuse("wrong_type", name, f"must be a list of messages {got(value)}. Write [{{role, content}}].")
    return [_message(message, f"{name}[{i}]", ignored) for i, message in enumerate(value)]


def _unwritten(value: str, name: str) -> Any:
    """The list that a text describes: JSON, or what Python prints."""
    try:
        return parse_json(value)
    except ValueError:
        pass
    try:
        if len(value) > _LONGEST:
            raise ValueError(f"longer than {_LONGEST} characters")
        return ast.literal_eval(value.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        what = f"is messages that a table made text of, and cannot be read back {got(value)}"
        raise refuse("wrong_type", name, f"{what}. Export them as JSON.") from error


def _message(message: Any, where: str, ignored: tuple[str, ...]) -> dict[str, str]:
    if not isinstance(message, dict):
        raise refuse("wrong_type", where, f"must be {{role, content}} {got(message)}. Fix the row.")
    fields = {key: value for key, value in message.items() if value not in _EMPTY or key == "content"}
    if "from" in fields and "role" not in fields:
        fields = {{"from": "role", "value": "content"}.get(key, key): value for key, value in fields.items()}
    for key in fields:
        if key not in ("role", "content") and key not in ignored and key not in _ABOUT:
            raise _unknown(where, str(key), fields[key])
    role, content = fields.get("role"), _joined(fields.get("content"), where)
    if not isinstance(role, str) or content is None:
        raise refuse("wrong_type", where, f"must be {{role, content}} {got(message)}. Fix the row.")
    return {"role": _ROLES.get(role, role), "content": said(content, f"{where}.content")}


def _unknown(where: str, key: str, value: Any) -> RecordError:
    if key in ("tool_calls", "function_call", "tool_call_id"):
        what = f"calls a tool {got(value)}, which a record cannot hold yet. Leave the row out."
        return refuse("unknown_column", f"{where}.{key}", what)
    what = f"is no field of a message {got(value)}"
    return refuse("unknown_column", f"{where}.{key}", f"{what}. Or list it in ignore_columns.")


def _joined(content: Any, where: str) -> str | None:
    """The text of a content: text, or parts that are all text."""
    if isinstance(content, list) and content:
        parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
        if len(parts) == len(content) and all(isinstance(part.get("text"), str) for part in parts):
            return "".join(part["text"] for part in parts)
        raise refuse(
            "wrong_type", f"{where}.content", f"has parts that are not text {got(content)}. Leave the row out."
        )
    return content if isinstance(content, str) else None

"""Checks of a native row's columns, in the names its owner knows. Each raises RecordError with rule and field."""

from __future__ import annotations

from typing import Any

from components.errors import RecordError, nearest


def refuse(rule: str, field: str, what: str) -> RecordError:
    return RecordError(f"{field} {what}", rule=rule, field=field)


def _got(value: Any) -> str:
    text = repr(value)
    return f"(got {text if len(text) <= 60 else text[:57] + '...'})"


def check_columns(
    row: dict[str, Any], needed: tuple[str, ...], optional: tuple[str, ...], ignored: tuple[str, ...]
) -> None:
    """Every needed column is there, and no column is unknown."""
    for name in needed:
        if name not in row:
            raise refuse("missing_column", name, f"is missing (got {', '.join(sorted(row)) or 'no columns'}). Add it.")
    for name in row:
        if name not in (*needed, *optional, *ignored):
            hint = nearest(name, (*needed, *optional))
            raise refuse("unknown_column", name, f"is not a column of this format.{hint} Or list it in ignore_columns.")


def text(row: dict[str, Any], name: str, rule: str = "blank_text") -> str:
    """A column that holds text that is not blank."""
    value = row[name]
    if not isinstance(value, str):
        raise refuse("wrong_type", name, f"must be text {_got(value)}. Fix the row.")
    if not value.strip():
        raise refuse(rule, name, f"is blank {_got(value)}. Give the text, or leave the row out.")
    return value


def choice(row: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    """A column that holds one of a few words."""
    value = row[name]
    if not isinstance(value, str) or value not in allowed:
        raise refuse("wrong_value", name, f"must be one of {', '.join(allowed)} {_got(value)}. Fix the row.")
    return value


def number(row: dict[str, Any], name: str) -> float:
    """A column that holds a number >= 0."""
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse("wrong_type", name, f"must be a number {_got(value)}. Fix the row.")
    if value < 0:
        raise refuse("wrong_value", name, f"must be >= 0 {_got(value)}. Fix the row.")
    return value


def chat(row: dict[str, Any], name: str) -> list[dict[str, str]]:
    """A column that holds chat messages [{role, content}]."""
    value = row[name]
    if not isinstance(value, list) or not value:
        raise refuse("wrong_type", name, f"must be a list of messages {_got(value)}. Write [{{role, content}}].")
    for i, message in enumerate(value):
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            raise refuse("wrong_type", f"{name}[{i}]", f"must be {{role, content}} {_got(message)}. Fix the row.")
        if not isinstance(message["role"], str) or not isinstance(message["content"], str):
            raise refuse("wrong_type", f"{name}[{i}]", f"must hold two texts {_got(message)}. Fix the row.")
    return value

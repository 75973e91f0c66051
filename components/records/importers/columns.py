"""Checks of a native row's columns, in the names its owner knows. Each raises RecordError with rule and field."""

from __future__ import annotations

import difflib
import math
from functools import lru_cache
from typing import Any

from components.errors import RecordError
from components.records.schema import is_moment

# columns that say what the model sees or what was meant: to leave one of them out would change the record
MEANT = frozenset(
    {"system", "system_prompt", "history", "conversation", "conversations", "messages", "context", "input"}
    | {"instruction", "question", "query", "images", "image", "videos", "video", "audio", "audios", "files"}
    | {"documents", "docs", "tools", "functions", "tool_calls", "tie", "is_tie", "choice", "winner", "label", "labels"}
    | {"preference", "score_ratio", "strength", "prompt", "chosen", "rejected", "completion", "response"}
    | {"response_a", "response_b"}
)


def refuse(rule: str, field: str, what: str) -> RecordError:
    return RecordError(f"{field} {what}", rule=rule, field=field)


def got(value: Any) -> str:
    """`(got VALUE)`, at most 60 characters of it."""
    text = repr(value)
    return f"(got {text if len(text) <= 60 else text[:57] + '...'})"


def check_columns(
    row: dict[str, Any], needed: tuple[str, ...], optional: tuple[str, ...], ignored: tuple[str, ...]
) -> None:
    """Every needed column is there, and none is left aside that could mean something.

    A column that the format does not know is left aside (see `left_aside`), unless its name is one of MEANT, or nearly
    that of a column which is not there. Columns in `ignored` are left aside whatever they are called.
    """
    for name in needed:
        if row.get(name) is None:
            there = ", ".join(sorted(key for key in row if row[key] is not None))
            raise refuse("missing_column", name, f"is missing (got {there or 'no columns'}). Add it.")
    known = {*needed, *optional}
    for name in row:
        if name in known or name in ignored or row[name] is None:
            continue
        close = _nearly(name, frozenset(other for other in known if row.get(other) is None))
        if name in MEANT or close:
            hint = f" Did you mean '{close}'?" if close else ""
            raise refuse("unknown_column", name, f"is not a column of this format.{hint} Or list it in ignore_columns.")


@lru_cache(maxsize=1000)
def _nearly(name: str, absent: frozenset[str]) -> str:
    """The column that is not there and is written nearly so, if there is one."""
    return next(iter(difflib.get_close_matches(name, sorted(absent), 1, cutoff=0.8)), "")


def text(row: dict[str, Any], name: str, rule: str = "blank_text") -> str:
    """A column that holds text that is not blank."""
    value = row[name]
    if value is None:
        raise refuse(rule, name, "is null (got no text). Give the text, or leave the row out.")
    if not isinstance(value, str):
        raise refuse("wrong_type", name, f"must be text {got(value)}. Fix the row.")
    if not value.strip():
        raise refuse(rule, name, f"is blank {got(value)}. Give the text, or leave the row out.")
    return value


# what tables write for a missing value and nobody as an answer; the words that somebody may answer are flagged
_MISSING = frozenset({"nan", "NaN", "NAN", "<NA>", "NaT", "#N/A", "#NA"})


def answer(row: dict[str, Any], name: str) -> str:
    """A column that holds the text of a candidate: neither blank nor the word for a missing value."""
    return said(text(row, name, "candidate_not_empty"), name)


def said(value: str, name: str) -> str:
    """The text of a prompt or candidate, unless it is the word for a missing value."""
    if value.strip() in _MISSING:
        raise refuse("missing_value", name, f"is the word for a missing value {got(value)}. Leave the row out.")
    return value


def choice(row: dict[str, Any], name: str, allowed: tuple[str, ...]) -> str:
    """A column that holds one of a few words, in small or capital letters."""
    value = row[name]
    if not isinstance(value, str) or value.strip().lower() not in allowed:
        raise refuse("wrong_value", name, f"must be one of {', '.join(allowed)} {got(value)}. Fix the row.")
    return value.strip().lower()


def number(row: dict[str, Any], name: str) -> float:
    """A column that holds a finite number >= 0."""
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse("wrong_type", name, f"must be a number {got(value)}. Fix the row.")
    if not math.isfinite(value) or value < 0:
        raise refuse("wrong_value", name, f"must be a finite number >= 0 {got(value)}. Fix the row.")
    return value


def moment(row: dict[str, Any], name: str) -> str:
    """A column that holds a date or time in ISO 8601; "" if it is not there."""
    if row.get(name) is None:
        return ""
    value = text(row, name)
    if not is_moment(value):
        raise refuse("not_iso_8601", name, f"must be ISO 8601 {got(value)}. For example 2025-03-01T09:00:00Z.")
    return value

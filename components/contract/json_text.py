"""JSON that others wrote: one value, or a ValueError that says why not. No key twice, no bound left to the machine."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

MAX_DEPTH = 100
"""Lists and mappings within one another; what comes later walks a value by recursion."""
MAX_DIGITS = 308
"""Digits of a whole number: more is beyond every double."""


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text (bytes are UTF-8).

    Raises ValueError: no JSON, not UTF-8, a key that stands twice, NaN or Infinity, a number beyond a double, or deeper
    than MAX_DEPTH.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(_too_deep()) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _deep(value):
        raise ValueError(_too_deep())
    return value


def _too_deep() -> str:
    return f"lists and mappings lie deeper than {MAX_DEPTH} within one another"


def _deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent) if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {twice[:60]!r} stands twice")
    return made


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is beyond every double")
    return value


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a whole number has {len(text)} digits, more than {MAX_DIGITS}")
    return int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_mapping, parse_constant=_constant, parse_float=_float, parse_int=_int)

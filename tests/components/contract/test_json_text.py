"""JSON of others: what is no JSON, stands twice, is beyond every double or too deep is a ValueError that says so."""

from __future__ import annotations

from typing import Any

import pytest

from components.contract.json_text import MAX_DEPTH, parse_json


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, -2.5e-3, "ü", true, null]}', {"a": [1, -0.0025, "ü", True, None]}),
        (b'{"a": {"b": 1}, "b": 1}', {"a": {"b": 1}, "b": 1}),
        ("[" * MAX_DEPTH + "]" * MAX_DEPTH, None),
        ('"' + "[" * 500 + '"', "[" * 500),
        ("[" + ",".join(["{}"] * 500) + "]", [{}] * 500),
        ("9" * 308, int("9" * 308)),
        ("1e-999", 0.0),
    ],
)
def test_what_is_json_is_read(text: str | bytes, value: Any) -> None:
    assert parse_json(text) == value or value is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, "b": 2, "a": 1}', "key 'a' stands twice"),
        ('[{"x": {"a": 1, "a": 2}}]', "key 'a' stands twice"),
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("1e999", "beyond every double"),
        ("9" * 309, "309 digits"),
        ("9" * 10_000, "10000 digits"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "deeper than"),
        ('{"a":' * 100_000, "deeper than"),
        ("[1", "Expecting"),
        ("", "Expecting value"),
        (b"\xff", "utf-8"),
    ],
)
def test_what_is_not_says_why(text: str | bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_json(text)

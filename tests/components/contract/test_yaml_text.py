"""YAML of people: an alias bomb, a ring, a value that its tag denies, a key twice: each a ValueError that says so."""

from __future__ import annotations

import pytest

from components.contract.yaml_text import MAX_BYTES, MAX_DEPTH, parse_yaml


def bomb(inner: str, outer: str, rounds: int = 12) -> str:
    lines = [f"a0: &a0 {inner}"]
    for i in range(1, rounds):
        lines.append(f"a{i}: &a{i} " + outer.format(", ".join([f"*a{i - 1}"] * 9)))
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (bomb("[x, x]", "[{}]"), "aliases written out"),
        (bomb("{k: 1}", "{{<<: [{}]}}"), "aliases written out"),
        ("&a [*a]", "holds itself"),
        ("&a {x: *a}", "holds itself"),
        ("[" * 10_000, "deeper than"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "deeper than"),
        ("x: " + "y" * MAX_BYTES, "more than"),
        ("a: 1\na: 2", "key 'a' stands twice"),
        ("{[a]: 1}", "a key is a list"),
        ("!!bool x", "not what its form says"),
        ("!!timestamp x", "not what its form says"),
        ("2020-99-99", "month must be"),
        ("9" * 5000, "not what its form says"),
        ("!!python/object/apply:os.system [x]", "could not determine"),
        ("a: [1", "expected"),
        ("\x00", "not allowed"),
        ("--- a\n--- b", "single document"),
    ],
)
def test_what_cannot_be_read_says_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_yaml(text)


def test_aliases_and_merges_of_people_are_read() -> None:
    text = "a: &a {x: 1, y: [2]}\nb: *a\nc: {<<: *a, x: 3}\nd:"
    assert parse_yaml(text) == {"a": {"x": 1, "y": [2]}, "b": {"x": 1, "y": [2]}, "c": {"x": 3, "y": [2]}, "d": None}
    assert parse_yaml("") is None
    assert parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None

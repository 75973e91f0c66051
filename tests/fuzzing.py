"""Seeded mutations of good files: bytes, texts and values as bad disks, old programs and bad people leave them."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

NASTY: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    10**400,
    1.5,
    -0.0,
    "",
    " ",
    "nan",
    "\x00",
    "\u202e\u200b\ufeff",
    "\ud800",
    "[/x]",
    "yesterday",
    "[{'role': 'user'",
    '[{"role": "user", "content": "x"}]',
    "Human: x\n\nAssistant: y",
    "x" * 5000,
    [],
    [None],
    [[[]]],
    ["a", 1],
    {},
    {"": None},
    {"a": {"b": [1]}},
    {"name": []},
    {"role": "user", "content": None},
    [{"role": 3, "content": {}}],
    {"type": "pairwise", "a": 1},
]
_SNIPPETS = [
    *(
        b"\x00",
        b"\xff",
        b"\xfe\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\n\n",
        b"\\",
        b'"',
        b"'",
        b",",
        b":",
    ),
    *(b"[", b"]", b"{", b"}", b"[" * 2000, b'{"a":' * 2000, b"1e999", b"-1e-999", b"9" * 5000, b"NaN", b"Infinity"),
    *(
        b"null",
        b'"\\ud800"',
        b'"\\u0000"',
        b'{"a": 1, "a": 2}',
        b"# ",
        b"- ",
        b"---\n",
        b"...\n",
        b"&a ",
        b"*a",
        b"<<: ",
    ),
    *(
        b"!!bool ",
        b"!!timestamp ",
        b"!!python/object:os.system ",
        b"? ",
        b"| ",
        b"> ",
        b"%YAML 9\n",
        b"\t",
        b"2020-99-99",
    ),
    *(
        b"1_000",
        b"0x1F",
        b"1:30",
        b"!!binary ",
        b"PAR1",
        b"\x1f\x8b",
        b".inf",
        b"~",
        b"=",
        b"@",
        b"`",
        b"\t",
        b"*a",
        b":",
    ),
]


def mutated_bytes(rng: random.Random, data: bytes) -> bytes:
    """One to four changes of bytes: cut, doubled, swapped, flipped, or something put in."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randint(0, len(data))
        end = min(len(data), start + rng.choice((1, 1, 4, 30, 300)))
        match rng.randrange(6):
            case 0:
                data = data[:start] + data[end:]
            case 1:
                data = data[:end] + data[start:end] * rng.randint(1, 3) + data[end:]
            case 2:
                data = data[:start] + bytes(byte ^ (1 << rng.randrange(8)) for byte in data[start:end]) + data[end:]
            case 3:
                data = data[:start]
            case _:
                data = data[:start] + rng.choice(_SNIPPETS) + data[rng.choice((start, end)) :]
    return data


def mutated_value(rng: random.Random, value: Any) -> Any:
    """A copy of a JSON value in which one to three values are nasty, gone, or under another key."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        places = list(_places(value))
        if not places:
            break
        owner, key = rng.choice(places)
        match rng.randrange(5):
            case 0:
                del owner[key]
            case 1 if isinstance(owner, dict):
                owner[rng.choice(("", "x", "ids", "name", f"{key}s", key[1:]))] = owner.pop(key)
            case 2:
                owner[key] = [owner[key]]
            case _:
                owner[key] = copy.deepcopy(rng.choice(NASTY))
    return value


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in list(items):
        yield value, key
        yield from _places(inner)


def json_line(value: Any) -> bytes:
    """A JSON line, lone surrogates and all."""
    return json.dumps(value).encode() + b"\n"

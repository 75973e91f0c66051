"""Canonical JSON follows RFC 8785, and the record id is stable under everything that is not content."""

from __future__ import annotations

import copy
import json
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.errors import RecordError
from components.records import canonical_json, complete, record_id
from tests.components.records.samples import record

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("bits", "text"),
    [  # the sample table of RFC 8785, appendix B
        (0x0000000000000000, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"),
        (0x7FEFFFFFFFFFFFFF, "1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0xC340000000000000, "-9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44B52D02C7E14AF5, "9.999999999999997e+22"),
        (0x44B52D02C7E14AF6, "1e+23"),
        (0x44B52D02C7E14AF7, "1.0000000000000001e+23"),
        (0x444B1AE4D6E2EF4E, "999999999999999700000"),
        (0x444B1AE4D6E2EF4F, "999999999999999900000"),
        (0x444B1AE4D6E2EF50, "1e+21"),
        (0x3EB0C6F7A0B5ED8C, "9.999999999999997e-7"),
        (0x3EB0C6F7A0B5ED8D, "0.000001"),
        (0x41B3DE4355555553, "333333333.3333332"),
        (0x41B3DE4355555554, "333333333.33333325"),
        (0xBECBF647612F3696, "-0.0000033333333333333333"),
        (0x43143FF3C1CB0959, "1424953923781206.2"),
    ],
)
def test_numbers_are_written_as_the_rfc_writes_them(bits: int, text: str) -> None:
    (value,) = struct.unpack(">d", struct.pack(">Q", bits))
    assert canonical_json(value) == text


def test_keys_are_sorted_by_utf16_code_units() -> None:
    """RFC 8785, 3.2.3: the smiley (surrogates D83D...) comes before U+FB33, though its code point is larger."""
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    ordered = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical_json(dict.fromkeys(keys, 0)))) == ordered


def test_strings_escape_only_what_must_be_escaped() -> None:
    assert canonical_json("\u20ac$\u000f\nA'B\"\\/\x7f\u00fc") == '"\u20ac$\\u000f\\nA\'B\\"\\\\/\x7f\u00fc"'


def test_no_unicode_normalisation() -> None:
    assert canonical_json("\u00e9") != canonical_json("e\u0301")


def test_an_integer_and_the_same_float_are_one_number() -> None:
    assert canonical_json({"x": 1.0}) == canonical_json({"x": 1}) == '{"x":1}'


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 2**53 + 1, 10**400, "\ud800", {"\udc00": 1}, {1: 2}, {1, 2}, b"x"]
)
def test_what_has_no_canonical_text_is_refused(value: object) -> None:
    with pytest.raises(RecordError) as caught:
        canonical_json([value])
    assert caught.value.rule == "canonical_json"


@given(JSON)
def test_canonical_text_is_a_fixed_point(value: object) -> None:
    """Reading the text and writing it again changes nothing, and the value survives."""
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_finite_number_survives_its_text(value: float) -> None:
    """Large floats are written without a point, so they come back as integers: the same double, the same text."""
    text = canonical_json(value)
    assert float(json.loads(text)) == value
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(TEXT, JSON, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value: dict[str, object], random: object) -> None:
    keys = list(value)
    random.shuffle(keys)  # type: ignore[attr-defined]
    assert canonical_json({key: value[key] for key in keys}) == canonical_json(value)


def test_record_id_covers_content_annotator_and_source_and_nothing_else() -> None:
    base = record()
    assert record_id(base) == base["record_id"]
    for path, covered in {
        ("task", "lang"): True,
        ("context", "criterion"): True,
        ("annotator", "id"): True,
        ("provenance", "source"): True,
        ("annotator", "ui_rev"): False,
        ("provenance", "created_at"): False,
        ("quality", "parse_ok"): False,
    }.items():
        changed = copy.deepcopy(base)
        changed[path[0]][path[1]] = "changed"
        assert (record_id(changed) != base["record_id"]) is covered, path


def test_an_absent_record_id_is_computed_and_a_present_one_is_kept() -> None:
    base = record()
    bare = {key: value for key, value in base.items() if key not in ("record_id", "schema_version", "context")}
    assert complete(bare) == base
    assert complete({**bare, "record_id": "given"})["record_id"] == "given"

"""Canonical JSON (RFC 8785, JCS) and the content address of a record."""

from __future__ import annotations

import hashlib
import math
import sys
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from components.errors import RecordError

MAX_INTEGER = 2**53  # beyond it an integer is not the same number in every JSON reader
MAX_DOUBLE = int(sys.float_info.max)


def _refuse(what: str) -> RecordError:
    return RecordError(f"canonical JSON: {what}", rule="canonical_json")


def _number(value: float) -> str:
    """ECMAScript `Number::toString`: shortest digits, exponent only below 1e-6 or from 1e21 on."""
    if not math.isfinite(value):
        raise _refuse(f"a number must be finite (got {value}). Leave the field out where there is no value.")
    if value == 0:
        return "0"  # -0 too
    text = repr(abs(value))
    sign = "-" if value < 0 else ""
    _, raw_digits, exponent = Decimal(text).as_tuple()
    digits = "".join(map(str, raw_digits)).rstrip("0")
    point = len(raw_digits) + int(exponent)  # value = 0.DIGITS * 10**point
    if len(digits) <= point <= 21:
        return sign + digits + "0" * (point - len(digits))
    if 0 < point <= 21:
        return f"{sign}{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    mantissa = digits[0] + ("." + digits[1:] if len(digits) > 1 else "")
    return f"{sign}{mantissa}e{point - 1:+d}"


def _integer(value: int) -> str:
    text = str(value)
    # beyond 2**53 only what a double reads and writes as the same digits (1e20, written as an integer, is one)
    if abs(value) > MAX_INTEGER and (abs(value) > MAX_DOUBLE or _number(float(value)) != text):
        raise _refuse(f"an integer beyond 2**53 is not portable (got {text[:40]}). Write it as text.")
    return text


def _text(value: Any) -> str:
    if isinstance(value, str):
        return encode_basestring(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_text(item) for item in value]) + "]"
    if isinstance(value, dict):
        return "{" + ",".join([f"{_text(key)}:{_text(value[key])}" for key in _sorted_keys(value)]) + "}"
    raise _refuse(f"not a JSON value (got {type(value).__name__}). Use text, numbers, lists and mappings.")


def _sorted_keys(mapping: dict[Any, Any]) -> list[str]:
    ascii_only = True
    for key in mapping:
        if not isinstance(key, str):
            raise _refuse(f"a key must be text (got {key!r}). Write it in quotes.")
        ascii_only = ascii_only and key.isascii()
    if ascii_only:
        return sorted(mapping)
    return sorted(mapping, key=lambda key: key.encode("utf-16-be"))  # RFC 8785 3.2.3: by UTF-16 code units


def canonical_json(value: Any) -> str:
    """The one JSON text of a value by RFC 8785; no Unicode normalisation. 1 and 1.0 are the same number.

    Raises RecordError (rule `canonical_json`) for NaN, infinities, integers beyond 2**53, lone surrogates, other types.
    """
    try:
        text = _text(value)
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise _refuse(f"text holds a lone surrogate (got {error.object[error.start]!r}). Repair the text.") from error
    return text


def sha256(value: Any) -> str:
    """Hex sha256 of the canonical JSON of a value."""
    return hashlib.sha256(canonical_json(value).encode("utf-8")).hexdigest()


def record_id(record: dict[str, Any]) -> str:
    """Content address of a record: sha256 over task, context, candidates, judgments, annotator id and source."""
    return sha256(
        [
            record["task"],
            record["context"],
            record["candidates"],
            record["judgments"],
            record["annotator"]["id"],
            record["provenance"]["source"],
        ]
    )

"""FMT-00, the unified feedback record, as data: field -> kind. `name?` may be absent; anything not named is unknown.

Kinds: `str`, `bool`, `int`, `float` (any number), `dict` (free mapping), a frozenset (one of these values), `[kind]`
(list), `(kind, kind)` (list of that length), `{field: kind}` (mapping). A value is never null: leave the field out.

Three deliberate widenings of the published schema, each because the strict reading would force an untrue value:
`shown_order` may be absent (most public sets do not say it), `strength` may be fractional (a mean of votes, a score
difference), and `quality.weight` carries the training weight that curation gives a record. One addition: a pairwise
judgment with `combined_of` sums up other ones of the same pair (indices), which are then no votes of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from components.errors import nearest

Record = dict[str, Any]
SCHEMA_VERSION = "1.0"

ROLES = frozenset({"system", "user", "assistant", "tool"})
MEDIA = frozenset({"text", "image", "audio", "video"})
GENERATORS = frozenset({"model", "human", "edit", "retrieval"})
ANNOTATORS = frozenset({"human", "llm", "reward_model", "heuristic", "environment", "in_situ_user", "simulated"})
OUTCOMES = frozenset({"a", "b", "tie", "both_bad", "incomparable", "skip"})

PART = {"type": MEDIA, "text?": str, "uri?": str, "sha256?": str}
TASK = {
    "messages": [{"role": ROLES, "parts": [PART]}],
    "system?": str,
    "docs?": [str],
    "references?": [str],
    "tests?": [str],
    "lang": str,
    "domain?": str,
    "tags": [str],
}
CONTEXT = {
    "principles?": [{"id": str, "text": str, "polarity": frozenset({1, -1})}],
    "criterion?": str,
    "scenario?": str,
    "persona_id?": str,
    "rubric?": {"criterion": str, "levels": dict},
}
GENERATOR = {"kind": GENERATORS, "name": str, "revision": str, "params": dict, "prompt_variant?": str, "seed?": int}
CANDIDATE = {
    "cid": str,
    "parts": [PART],
    "generator": GENERATOR,
    "n_tokens?": int,
    "logprob_sum?": float,
    "parent_cid?": str,
    "truncated": bool,
}
SCALE = {"min": float, "max": float, "step?": float, "type": frozenset({"ordinal", "continuous"})}
ANSWER = {"q": str, "answer": frozenset({"yes", "no", "na"}), "weight": float}
ELSEWHERE = {"record_id": str, "cid": str}
JUDGMENTS: dict[str, dict[str, Any]] = {
    "pairwise": {  # FMT-01, FMT-02 (outcome tie), FMT-13 (strength, p_a), FMT-15 (with the record's context)
        "a": str,
        "b": str,
        "outcome": OUTCOMES,
        "strength?": float,
        "strength_scale?": (float, float),
        "p_a?": float,
        "shown_order?": (str, str),
        "criterion?": str,
        "combined_of?": [int],
    },
    "ranking": {"tiers": [[str]], "complete": bool, "top_k?": int},  # FMT-04
    # One per attribute: FMT-05, FMT-06.
    "score": {"cid": str, "attribute": str, "value": float, "scale": SCALE, "higher_is_better": bool},
    "binary": {"cid": str, "attribute": str, "value": bool},  # FMT-07
    "span": {  # FMT-08
        "cid": str,
        "part": int,
        "start": int,
        "end": int,
        "unit": frozenset({"codepoint"}),
        "label": str,
        "severity?": str,
    },
    "step": {"cid": str, "steps": [{"start": int, "end": int, "label": frozenset({-1, 0, 1})}]},  # FMT-09
    "token": {"cid": str, "tokenizer_rev": str, "weights": [float]},  # FMT-10
    "critique": {"cid?": str, "pair?": (str, str), "text": str, "verdict?": str},  # FMT-11, and trace
    "rationale": {"of": int, "text": str, "author": str},  # FMT-12
    "edit": {"from": str, "to": str, "direction": frozenset({"improve", "degrade"}), "minimal": bool},  # FMT-03
    "checklist": {"cid": str, "items": [ANSWER]},
    "joint": {"a": ELSEWHERE, "b": ELSEWHERE, "outcome": OUTCOMES},  # FMT-14
    "implicit": {  # FMT-16
        "cid": str,
        "signal": frozenset({"followup", "regenerate", "copy", "click", "dwell", "vote"}),
        "text?": str,
        "up?": int,
        "down?": int,
        "sat": frozenset({"sat", "dsat", "none"}),
        "p?": float,
    },
    "hindsight": {"cid": str, "outcome_text": str, "simulated": bool, "rating": float},  # FMT-17
    "trace": {"cid": str, "calls": [{"tool": str, "input": str, "observation": str}], "conclusion": str},
    "distribution": {"over": [str], "probs": [float], "n?": int},  # FMT-18
}
ANNOTATOR = {
    "id": str,
    "kind": ANNOTATORS,
    "revision?": str,
    "profile_id?": str,
    "groups": [str],
    "instructions_rev": str,
    "ui_rev": str,
    "temperature?": float,
}
QUALITY = {
    "confidence?": float,
    "duration_ms?": float,
    "gold?": bool,
    "attention_ok?": bool,
    "parse_ok": bool,
    "n_retries?": int,
    "weight?": float,
}
PROVENANCE = {
    "source": str,
    "license": str,
    "split": frozenset({"", "train", "validation", "test"}),
    "created_at": str,
    "run_id": str,
    "code_rev": str,
    "data_rev": str,
    "parents": [str],
    "consent_scope?": str,
    "pii?": frozenset({"none", "redacted", "present"}),
}
RECORD: dict[str, Any] = {
    "record_id": str,
    "schema_version": str,
    "task": TASK,
    "context": CONTEXT,
    "candidates": [CANDIDATE],
    "judgments": [dict],  # a tagged union: `type` picks the row of JUDGMENTS
    "annotator": ANNOTATOR,
    "quality": QUALITY,
    "provenance": PROVENANCE,
}
FIELDS = tuple(RECORD)


def is_moment(text: str) -> bool:
    """Whether a text is a date or time in ISO 8601."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


Problem = tuple[str, str]  # (field, what is wrong and what to do)


def _is(kind: type, value: Any) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def _word(kind: type) -> str:
    words = {str: "text", float: "a number", int: "a whole number", bool: "true or false", dict: "a mapping"}
    return words.get(kind, kind.__name__)


def _got(value: Any) -> str:
    text = repr(value)
    return f"(got {text if len(text) <= 60 else text[:57] + '...'})"


def shape_problems(kind: Any, value: Any, field: str) -> Iterator[Problem]:
    """Where `value` does not have the shape `kind`."""
    if isinstance(kind, frozenset):
        if isinstance(value, (dict, list, bool, float)) or value not in kind:
            yield field, f"must be one of {', '.join(sorted(map(repr, kind)))} {_got(value)}. Use one of them."
    elif isinstance(kind, tuple):
        if not isinstance(value, (list, tuple)) or len(value) != len(kind):
            yield field, f"must be a list of {len(kind)} {_got(value)}. Write [x, y]."
        else:
            for i, (sub, item) in enumerate(zip(kind, value)):
                yield from shape_problems(sub, item, f"{field}[{i}]")
    elif isinstance(kind, list):
        if not isinstance(value, list):
            yield field, f"must be a list {_got(value)}. Write [x, ...]."
        else:
            for i, item in enumerate(value):
                yield from shape_problems(kind[0], item, f"{field}[{i}]")
    elif isinstance(kind, dict):
        yield from _mapping_problems(kind, value, field)
    elif not _is(kind, value):
        yield field, f"must be {_word(kind)} {_got(value)}. Fix the value, or leave an optional field out."


def _mapping_problems(fields: dict[str, Any], value: Any, where: str) -> Iterator[Problem]:
    if not isinstance(value, dict):
        yield where, f"must be a mapping {_got(value)}. Write {{field: value}}."
        return
    names = {name.removesuffix("?"): (kind, name.endswith("?")) for name, kind in fields.items()}
    prefix = f"{where}." if where else ""
    for key in value:
        if key not in names:
            yield f"{prefix}{key}", f"is not a field of the record format.{nearest(str(key), names)}"
    for name, (kind, optional) in names.items():
        if name in value:
            yield from shape_problems(kind, value[name], f"{prefix}{name}")
        elif not optional:
            yield f"{prefix}{name}", "is missing. Add it."


def judgment_problems(judgment: dict[str, Any], field: str) -> Iterator[Problem]:
    """Where one judgment does not have the shape its `type` asks for."""
    kind = judgment.get("type")
    if not isinstance(kind, str) or kind not in JUDGMENTS:
        yield f"{field}.type", f"is not a judgment type {_got(kind)}.{nearest(str(kind), JUDGMENTS)}"
        return
    yield from _mapping_problems({"type": str, **JUDGMENTS[kind]}, judgment, field)

"""Small records for tests: one of every kind of judgment."""

from __future__ import annotations

from typing import Any

from components.records import make_record, simple_task, text_candidate

PROVENANCE = {"source": "test", "license": "CC0-1.0"}
HUMAN = {"id": "ann-1", "kind": "human"}

SCALE = {"min": 1, "max": 5, "type": "ordinal"}
JUDGMENTS: dict[str, dict[str, Any]] = {
    "pairwise": {"type": "pairwise", "a": "a", "b": "b", "outcome": "a", "p_a": 0.8, "shown_order": ["b", "a"]},
    "ranking": {"type": "ranking", "tiers": [["a"], ["b"]], "complete": True, "top_k": 1},
    "score": {"type": "score", "cid": "a", "attribute": "help", "value": 4, "scale": SCALE, "higher_is_better": True},
    "binary": {"type": "binary", "cid": "a", "attribute": "help", "value": True},
    "span": {"type": "span", "cid": "a", "part": 0, "start": 0, "end": 2, "unit": "codepoint", "label": "wrong"},
    "step": {
        "type": "step",
        "cid": "a",
        "steps": [{"start": 0, "end": 2, "label": 1}, {"start": 2, "end": 4, "label": -1}],
    },
    "token": {"type": "token", "cid": "a", "tokenizer_rev": "r1", "weights": [0.5, 1]},
    "critique": {"type": "critique", "cid": "a", "text": "Too short."},
    "rationale": {"type": "rationale", "of": 0, "text": "It answers.", "author": "ann-1"},
    "edit": {"type": "edit", "from": "a", "to": "b", "direction": "improve", "minimal": True},
    "checklist": {"type": "checklist", "cid": "a", "items": [{"q": "Polite?", "answer": "yes", "weight": 1.0}]},
    "joint": {
        "type": "joint",
        "a": {"record_id": "r1", "cid": "a"},
        "b": {"record_id": "r2", "cid": "a"},
        "outcome": "b",
    },
    "implicit": {"type": "implicit", "cid": "a", "signal": "copy", "sat": "sat", "p": 0.9},
    "hindsight": {"type": "hindsight", "cid": "a", "outcome_text": "It broke.", "simulated": True, "rating": 1},
    "trace": {
        "type": "trace",
        "cid": "a",
        "calls": [{"tool": "calc", "input": "1+1", "observation": "2"}],
        "conclusion": "right",
    },
    "distribution": {"type": "distribution", "over": ["a", "b"], "probs": [0.25, 0.75], "n": 4},
}


def record(
    *judgments: dict[str, Any], prompt: Any = "Name a colour.", texts: tuple[str, ...] = ("Blue", "Seven"), **over: Any
) -> dict[str, Any]:
    """A record over candidates a, b, ... with these texts. `over`: annotator, provenance, context, quality, task."""
    parts: dict[str, Any] = {
        "task": simple_task(prompt),
        "candidates": [text_candidate(chr(97 + i), text) for i, text in enumerate(texts)],
        "judgments": list(judgments) or [dict(JUDGMENTS["pairwise"])],
        "annotator": dict(HUMAN),
        "provenance": dict(PROVENANCE),
    }
    return make_record(**(parts | over))


def both_orders(
    first: str,
    second: str,
    combined: str,
    *,
    texts: tuple[str, str] = ("Blue", "Seven"),
    prompt: Any = "Name a colour.",
) -> dict[str, Any]:
    """A pair that a judge was asked about in both orders: the verdicts with a and with b shown first, and their sum."""
    pairwise = {"type": "pairwise", "a": "a", "b": "b"}
    judgments = [
        {**pairwise, "outcome": first, "shown_order": ["a", "b"]},
        {**pairwise, "outcome": second, "shown_order": ["b", "a"]},
        {**pairwise, "outcome": combined, "p_a": {"a": 1.0, "b": 0.0, "tie": 0.5}[combined], "combined_of": [0, 1]},
    ]
    judge = {"id": "judge", "kind": "llm", "revision": "1", "instructions_rev": "1"}
    return record(*judgments, texts=texts, prompt=prompt, annotator=judge)


def pair(
    outcome: str = "a",
    *,
    prompt: Any = "Name a colour.",
    texts: tuple[str, str] = ("Blue", "Seven"),
    annotator: str = "ann-1",
    kind: str = "human",
    **more: Any,
) -> dict[str, Any]:
    """A record with one pairwise judgment; `more` goes into the judgment."""
    who = {"id": annotator, "kind": kind}
    if kind not in ("human", "in_situ_user"):
        who |= {"revision": "1", "instructions_rev": "1"}
    judgment = {"type": "pairwise", "a": "a", "b": "b", "outcome": outcome, **more}
    return record(judgment, prompt=prompt, texts=texts, annotator=who)

"""Letters nobody sees and values that look like mistakes are counted; ordinary texts of any script raise no flag."""

from __future__ import annotations

from typing import Any

import pytest

from components.records import flags, make_record, simple_task, text_candidate
from tests.components.records.samples import pair

OF_TEXTS = {
    "control_characters": ["a\x00b", "\x1b[31m", "a\x7f", "\x85next"],
    "direction_overrides": ["\u202eabc", "\u2066x\u2069", "a\u202a"],
    "invisible_characters": ["a\u200bb", "\ufeffx", "pass\u00adword", "a\u200db", "x\u200d", "\U000e0041", "\u2060"],
    "replacement_characters": ["caf\ufffd"],
    "role_tokens": [
        "<|im_start|>",
        "a<|endoftext|>",
        "</s>",
        "[INST] x",
        "x\n\nHuman: y",
        "<end_of_turn>",
        "<\uff5cUser\uff5c>",
    ],
    "word_for_missing": ["None", " null ", "N/A", "undefined"],
}
PLAIN = [
    "A text.\r\n\tWith tabs, dashes \u2013 and quotes \u2018x\u2019\u00a0!",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 a family",  # joined emoji
    "می\u200cخواهم",  # Persian writes with a non-joiner
    "שלום, 你好, नमस्ते",
    "if a < b and b > c: d[INSTALL] <span>",
    "The human: a study. None of them.",
]


def record(prompt: str = "Hi", answer: str = "x", **annotator: Any) -> dict[str, Any]:
    return make_record(
        task=simple_task(prompt),
        candidates=[text_candidate("a", answer, name="m"), text_candidate("b", "y", name="m")],
        judgments=[{"type": "pairwise", "a": "a", "b": "b", "outcome": "a", "shown_order": ["a", "b"]}],
        annotator={"id": "p", "kind": "human", **annotator},
        provenance={"source": "s"},
    )


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in OF_TEXTS.items() for text in texts])
def test_a_text_raises_its_flag_wherever_it_stands(name: str, text: str) -> None:
    assert flags(record(prompt=text)) == [name]
    assert flags(record(answer=text)) == [name]


@pytest.mark.parametrize("text", PLAIN)
def test_ordinary_texts_raise_none(text: str) -> None:
    assert flags(record(text, text + ".")) == []


def test_an_annotator_without_a_name() -> None:
    assert flags(record(id="nan")) == ["word_for_missing"]


SCORES = [(3, 1, False), (3.5, 1, True), (3.5, 0.5, False), (0.3, 0.1, False)]


@pytest.mark.parametrize(("value", "step", "flagged"), SCORES)
def test_a_score_off_its_step(value: float, step: float, flagged: bool) -> None:
    scale = {"min": 0, "max": 5, "step": step, "type": "ordinal"}
    judged = pair()
    judged["judgments"] = [
        {"type": "score", "cid": "a", "attribute": "x", "value": value, "scale": scale, "higher_is_better": True}
    ]
    assert ("score_off_step" in flags(judged)) == flagged

"""Dialogues in one text: every usual layout gives the same turns; a text that only looks like one is a text."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.records import comparisons, messages
from components.records.importers import Quarantined
from components.records.importers.transcripts import is_transcript, turns
from tests.components.records.importer_cases import chat
from tests.components.records.importing import import_file
from tests.components.records.test_importers import lines

LAYOUTS = [
    "\n\nHuman: {}\n\nAssistant: {}\n\nHuman: {}\n\nAssistant: {}",
    "Human: {}\n\nAssistant: {}\n\nHuman: {}\n\nAssistant: {}",
    "\nHuman: {}\n\nAssistant: {}\n\nHuman: {}\n\nAssistant: {}\n",
    "Human: {}\r\n\r\nAssistant: {}\r\n\r\nHuman: {}\r\n\r\nAssistant: {}",
    "Human: {}\nAssistant: {}\nHuman: {}\nAssistant: {}",
    "Human: {}\nAssistant: {}\n\nHuman: {}\nAssistant: {}",
    "Human: {}\n\nAssistant: {}\nHuman: {}\n\nAssistant: {}",
    "### Human: {}\n### Assistant: {}\n### Human: {}\n### Assistant: {}",
    "### Instruction:\n{}\n\n### Response:\n{}\n\n### Instruction:\n{}\n\n### Response:\n{}",
    "**User:** {}\n\n**Assistant:** {}\n\n**User:** {}\n\n**Assistant:** {}",
    "user: {}\nassistant: {}\nuser: {}\nassistant: {}",
    "USER: {} ASSISTANT: {} USER: {} ASSISTANT: {}",
    "<human>: {}\n<bot>: {}\n<human>: {}\n<bot>: {}",
    "User: {}\rAI: {}\rUser: {}\rAI: {}",
    "用户:{}助手:{}用户:{}助手:{}",
    "用户：{}\n助手：{}\n用户：{}\n助手：{}",
    "问：{}\n答：{}\n问：{}\n答：{}",
    "ユーザー: {}\nアシスタント: {}\nユーザー: {}\nアシスタント: {}",
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_dialogue(tmp_path: Path, layout: str) -> None:
    rows = [
        {
            "chosen": layout.format("One?", "1, he said: ok", "Two?", yes),
            "rejected": layout.format("One?", "1, he said: ok", "Two?", no),
        }
        for yes, no in (("2", "3"), ("zwei", "drei"))
    ]
    for extra in ({}, {"prompt": "Two?"}, {"prompt": "One?"}, {"prompt": None}):
        records = list(import_file(lines(tmp_path / "x.jsonl", [{**row, **extra} for row in rows])))
        assert [messages(record) for record in records] == [chat("One?", "1, he said: ok", "Two?")] * 2  # type: ignore[arg-type]
        assert [c.chosen for c in comparisons(records).items] == ["2", "zwei"]  # type: ignore[arg-type]


@pytest.mark.parametrize("layout", ["\n\nHuman: {}\n\nAssistant:", "Human: {}\nAssistant:\n", "用户：{}\n助手："])
@pytest.mark.parametrize("repeated", [False, True])
def test_a_dialogue_in_the_prompt_column(tmp_path: Path, layout: str, repeated: bool) -> None:
    prompt = layout.format("How far is the moon from here?")
    before = prompt if repeated else ""
    row = {"prompt": prompt, "chosen": f"{before} Far.", "rejected": f"{before} Near."}
    (record,) = import_file(lines(tmp_path / "x.jsonl", [row]))
    assert isinstance(record, dict)
    assert messages(record) == chat("How far is the moon from here?")
    assert {c["parts"][0]["text"] for c in record["candidates"]} == {"Far.", "Near."}


def test_a_marker_inside_a_turn_is_a_part_of_it() -> None:
    assert turns("Human: a\n\nAssistant: Here:\nModel: Ford\nHuman error: yes", "x")[1]["content"].endswith(
        "error: yes"
    )
    assert len(turns("\n\nHuman: a\n\nAssistant: x\nHuman: y", "x")) == 2


@pytest.mark.parametrize(
    "text", ["Humans: are\nAssistants: x", "Tell me.\nAssistant: x", "Assistant: x", "", "Human:", 3, None]
)
def test_what_is_no_dialogue(text: object) -> None:
    assert not is_transcript(text)


def test_answers_asked_for_in_this_form_are_texts(tmp_path: Path) -> None:
    row = {"prompt": "Write a chat.", "chosen": "User: a\nBot: b", "rejected": "User: c\nBot: d"}
    task = {"prompt": "Question: What?\nAnswer:", "chosen": "This.", "rejected": "That."}
    first, second = import_file(lines(tmp_path / "x.jsonl", [row, task]))
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert messages(first) == chat("Write a chat.")
    assert messages(second) == chat("Question: What?\nAnswer:")


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"chosen": "Human: a\nAssistant: b", "rejected": "No."}, "wrong_value"),
        ({"chosen": "Human: a Assistant: b", "rejected": "Human: a Assistant: c"}, "wrong_value"),  # unknown layout
        (
            {"prompt": "Other?", "chosen": "Human: a\nAssistant: b", "rejected": "Human: a\nAssistant: c"},
            "prompts_differ",
        ),
        ({"chosen": "Human: a\nAssistant: ", "rejected": "Human: a\nAssistant: c"}, "candidate_not_empty"),
        ({"chosen": "Human: a\nAssistant: nan", "rejected": "Human: a\nAssistant: c"}, "missing_value"),
    ],
)
def test_a_half_dialogue_is_quarantined(tmp_path: Path, row: dict[str, str], rule: str) -> None:
    (bad,) = import_file(lines(tmp_path / "x.jsonl", [row]))
    assert isinstance(bad, Quarantined)
    assert bad.rule == rule

"""Pairs as others write them: repeated prompts, implicit ones, messages that a table made text of, null fields."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.records import comparisons, flags, messages
from components.records.importers import Quarantined
from tests.components.records.importer_cases import chat
from tests.components.records.importing import import_file
from tests.components.records.test_importers import lines

LONG = "How far is the moon from here?"
HI, YES, NO = chat("Hi"), chat("Hi", "Yes"), chat("Hi", "No")
ANSWERED = {"prompt": HI, "chosen": YES[1:], "rejected": NO[1:]}
PICTURE = [{"type": "image"}]


def one(tmp_path: Path, row: dict[str, Any]) -> Any:
    (made,) = import_file(lines(tmp_path / "x.jsonl", [row]))
    return made


def texts(record: Any) -> tuple[str, str]:
    (item,) = comparisons([record]).items
    return item.chosen, item.rejected


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "left"),
    [
        (LONG, f"{LONG} Far.", f"{LONG} Near.", (" Far.", " Near.")),
        (LONG, f"{LONG}\nFar.", f"{LONG}\nNear.", ("\nFar.", "\nNear.")),
        (LONG, f"{LONG} Far.", "Near.", None),  # one answer that restates the question
        ("Hi", "Hi there", "Hi yourself", None),  # too short to tell
        ("The distance of the moon", "The distance of the moons", "The distance of the moonlight", None),  # in a word
        (LONG, f"{LONG} Far.", LONG, "candidate_not_empty"),
    ],
)
def test_a_prompt_that_both_answers_repeat(tmp_path: Path, prompt: str, chosen: str, rejected: str, left: Any) -> None:
    made = one(tmp_path, {"prompt": prompt, "chosen": chosen, "rejected": rejected})
    if isinstance(left, str):
        assert made.rule == left
        return
    assert texts(made) == (left or (chosen, rejected))
    assert ("prompt_repeated" in flags(made)) == bool(left)


@pytest.mark.parametrize(
    ("start", "chosen", "rejected"),
    [
        ("天气怎么样？", "很好", "很坏"),
        ("问题：天气怎么样？回答：", "很好", "很坏"),
        ("天气:", "很好", "很坏"),
        ("Wie ist das Wetter?", " Gut", " Gar nicht"),
        ("富士山の高さは？", "3776m", "3000m"),
        ("How is it? 天气", " 很好", " 很坏"),
    ],
)
def test_an_implicit_prompt_ends_where_a_sentence_or_word_does(
    tmp_path: Path, start: str, chosen: str, rejected: str
) -> None:
    made = one(tmp_path, {"chosen": start + chosen, "rejected": start + rejected})
    assert messages(made) == chat(start)
    assert texts(made) == (chosen, rejected)


def test_an_implicit_prompt_that_would_lose_a_sentence_is_refused(tmp_path: Path) -> None:
    long = "今天北京的天气怎么样我想知道一下"
    assert one(tmp_path, {"chosen": long + "很好", "rejected": long + "很坏"}).rule == "no_prompt"
    assert one(tmp_path, {"chosen": "用户: " + long + "很好", "rejected": "用户: " + long + "很坏"}).rule == "no_prompt"


@pytest.mark.parametrize(
    "made", [json.dumps, str, lambda value: json.dumps(value, indent=1), lambda value: f" {value} "], ids=range(4)
)
def test_messages_that_a_table_made_text_of(tmp_path: Path, made: Any) -> None:
    for row in ({"chosen": YES, "rejected": NO}, {"prompt": HI, "chosen": YES[1:], "rejected": NO[1:]}):
        record = one(tmp_path, {name: made(value) for name, value in row.items()})
        assert (messages(record), texts(record)) == (HI, ("Yes", "No"))
    named = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes"}]
    assert messages(one(tmp_path, {"chosen": made(named), "rejected": made(NO)})) == HI


@pytest.mark.parametrize(
    "value",
    [
        "[{'role': 'user', 'content': 'Hi'}\n {'role': 'assistant', 'content': 'x'}]",  # numpy leaves out the commas
        "array([{'role': 'user', 'content': 'Hi'}], dtype=object)",
        "[{'role': 'user', 'content': __import__('os').system('x')}]",
        "[{'role': " + "[" * 5000,
        "[{'role': 'user'",
    ],
)
def test_text_of_messages_that_cannot_be_read_back_is_no_answer(tmp_path: Path, value: str) -> None:
    bad = one(tmp_path, {"prompt": "Hi", "chosen": value, "rejected": "No"})
    assert isinstance(bad, Quarantined)
    assert (bad.rule, bad.field) == ("wrong_type", "chosen")


def test_a_null_is_absent(tmp_path: Path) -> None:
    empty: dict[str, Any] = {"name": None, "tool_calls": None, "function_call": {}, "refusal": "", "annotations": []}
    row = {
        "chosen": [{**m, **empty} for m in YES],
        "rejected": [{**m, **empty} for m in NO],
        "prompt": None,
        "images": None,
    }
    assert messages(one(tmp_path, row)) == HI
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    assert messages(one(tmp_path, {"prompt": parts, "chosen": "Yes", "rejected": "No"})) == HI


@pytest.mark.parametrize(
    ("row", "rule", "field"),
    [
        ({"prompt": None, "chosen": "Hi Yes", "rejected": "Hi No"}, "no_prompt", "prompt"),
        ({"prompt": "", "chosen": "Hi Yes", "rejected": "Hi No"}, "no_prompt", "prompt"),
        ({"prompt": "nan", "chosen": "Hi Yes", "rejected": "Hi No"}, "missing_value", "prompt"),
        ({"prompt": None, "chosen": YES[1:], "rejected": NO[1:]}, "no_prompt", "chosen"),
        ({"prompt": "Ho", "chosen": YES, "rejected": NO}, "prompts_differ", "prompt"),
        ({"prompt": chat("Ho"), "chosen": YES, "rejected": NO}, "prompts_differ", "chosen"),
        (
            {"prompt": HI, "chosen": [{**YES[1], "tool_calls": [1]}], "rejected": NO[1:]},
            "unknown_column",
            "chosen[0].tool_calls",
        ),
        (
            {"prompt": HI, "chosen": [{"role": "assistant", "content": None}], "rejected": NO[1:]},
            "wrong_type",
            "chosen[0]",
        ),
        (ANSWERED | {"chosen": [{"role": "assistant", "content": PICTURE}]}, "wrong_type", "chosen[0].content"),
    ],
)
def test_a_missing_prompt_is_never_invented_nor_a_message_guessed(
    tmp_path: Path, row: Any, rule: str, field: str
) -> None:
    bad = one(tmp_path, row)
    assert (bad.rule, bad.field) == (rule, field)


def test_the_prompt_column_beside_whole_chats_is_the_first_or_last_question(tmp_path: Path) -> None:
    chosen, rejected = (
        [{"role": "system", "content": "Be brief."}, *chat("One?", "1", "Two?", end)] for end in ("2", "3")
    )
    for prompt in ("One?", "Two?", " Two?\n", chosen[:-1], chosen[1:-1], None):
        made = one(tmp_path, {"prompt": prompt, "chosen": chosen, "rejected": rejected})
        assert messages(made) == chosen[:-1], prompt

"""Dialogues written as one text, each turn behind a marker: `Human: ... Assistant: ...` in any of the usual layouts.

Only markers of this list are read, and only where a text begins with one: a text that merely mentions `Human:` later is
a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from components.records.importers.columns import refuse, said
from components.records.importers.messages import Messages

_NAMES = {
    "user": "human user prompter instruction question 用户 人类 用戶 ユーザー 사용자 問 问 пользователь человек "
    "utilisateur usuario benutzer nutzer mensch",
    "assistant": "assistant ai bot chatbot model chatgpt gpt response answer 助手 助理 アシスタント 어시스턴트 答 "
    "ассистент assistente asistente assistent",
    "system": "system 系统 系統",
}
_OF_TASKS = frozenset(["instruction", "question", "問", "问"])
_ROLES = {name: role for role, names in _NAMES.items() for name in names.split()}
_NAME = "|".join(sorted(_ROLES, key=len, reverse=True))
_MARK = rf"(?:\#{{1,4}}[ \t]*|\*\*|<\|?)?({_NAME})(?:\*\*|\|?>)?[ \t]?[:\uff1a](?:\*\*)?"
_WIDE = "|".join(name for name in _ROLES if not name.isascii() and len(name) > 1)
_START = re.compile(rf"\s*{_MARK}", re.IGNORECASE)
_ANSWERS = re.compile(rf"\b({'|'.join(_NAMES['assistant'].split())})[ \t]?[:\uff1a]", re.IGNORECASE)
_HH = re.compile(r"\n\n(Human|Assistant):")  # to the character: another marker in a turn is part of it
_LAYOUTS = (
    re.compile(rf"(?:^\s*|\r?\n[ \t]*\r?\n\s*|\r\r\s*){_MARK}", re.IGNORECASE),  # a blank line before every turn
    re.compile(rf"(?:^\s*|[\r\n]\s*){_MARK}", re.IGNORECASE),  # every turn begins a line
    re.compile(r"(?:^|</s>|\s)\s*(USER|ASSISTANT|SYSTEM):"),  # Vicuna: in one line
    re.compile(rf"\s*({_WIDE})[ \t]?[:\uff1a]", re.IGNORECASE),  # scripts without blanks: 用户:...。助手:...
)


def is_transcript(value: Any) -> bool:
    """Whether a text begins with a user's or the system's marker and has an assistant's behind it."""
    if not isinstance(value, str):
        return False
    first = _START.match(value)
    return bool(first and _role(first[1]) != "assistant" and _split(value))


def names_people(value: Any) -> bool:
    """Whether a text is a transcript of speakers (Human, User), and not of a task (Question, Instruction)."""
    first = _START.match(value) if is_transcript(value) else None
    return bool(first and first[1].casefold() not in _OF_TASKS)


def is_half_transcript(value: str) -> bool:
    """Whether a text begins with a user's marker and names an assistant in a layout that is not known here."""
    first = _START.match(value)
    return bool(first and _role(first[1]) != "assistant" and _ANSWERS.search(value, first.end()))


def turns(transcript: str, field: str) -> Messages:
    """The turns of a dialogue; blanks around a turn are layout. The last one may be empty. Raises RecordError."""
    found = _split(transcript)
    if not found:
        raise refuse("wrong_value", field, "must be a dialogue of 'Human:' and 'Assistant:' (got other text). Fix it.")
    before, rows = found
    if before.strip():
        raise refuse("wrong_value", field, "must start with a turn's marker (got other text first). Fix the row.")
    return [{**row, "content": said(row["content"], field)} for row in rows]


def _split(transcript: str) -> tuple[str, Messages] | None:
    """The text before the first turn and the turns, in the strictest layout in which speakers take turns."""
    if transcript.startswith("\n\nHuman:"):
        found = _cut(transcript, list(_HH.finditer(transcript)))
        if any(row["role"] == "assistant" for row in found[1]):
            return found
    split = [_cut(transcript, list(_of_two(layout.finditer(transcript)))) for layout in _LAYOUTS]
    spoken = [found for found in split if any(row["role"] == "assistant" for row in found[1])]
    return next((found for found in spoken if _alternate(found[1])), spoken[0] if spoken else None)


def _of_two(marks: Iterator[re.Match[str]]) -> Iterator[re.Match[str]]:
    """The marks of one name for each role, the first that stands there: `Model:` in an answer is no turn."""
    names: dict[str, str] = {}
    for mark in marks:
        name = mark[1].casefold()
        if names.setdefault(_role(name), name) == name:
            yield mark


def _cut(transcript: str, marks: list[re.Match[str]]) -> tuple[str, Messages]:
    if not marks:
        return transcript, []
    ends = [mark.start() for mark in marks[1:]] + [len(transcript)]
    rows = [
        {"role": _role(mark[1]), "content": transcript[mark.end() : end].strip()}
        for mark, end in zip(marks, ends, strict=True)
    ]
    return transcript[: marks[0].start()], rows


def _role(name: str) -> str:
    return _ROLES[name.casefold()]


def _alternate(rows: Messages) -> bool:
    roles = [row["role"] for row in rows]
    return all(one != other for one, other in pairwise(roles))

"""What a chat template writes around the texts of a conversation, found by giving it marks in their place.

A template is a program. Rendered once with a mark for every text, it shows which texts it writes, how often, in which
order and between what; the rendering of a real conversation is then checked against that, text by text. Torch-free.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

OPEN, CLOSE = "\ue000", "\ue001"  # private use: no template knows them
MARK = re.compile(f"{OPEN}(\\d+){CLOSE}")

Message = dict[str, Any]

TEMPLATE_FAILURES = (TemplateError, TypeError, ValueError, LookupError, AttributeError)
"""What a template raises for a conversation that it does not take."""


@dataclass(frozen=True)
class Frame:
    """What a template writes for a sequence of roles: `pieces[0]`, the text of message `slots[0]`, `pieces[1]`, ...

    `fault`: what is wrong with it, whatever the texts are (a rule of `components.sequences.rules`), and `got` says
    where; empty if nothing is.
    """

    pieces: tuple[str, ...]
    slots: tuple[int, ...]
    fault: str = ""
    got: str = ""


def render(tokenizer: Any, messages: Sequence[Message], *, generate: bool) -> str:
    """The conversation as text, with the generation prompt if asked. Raises what the template raises."""
    text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generate)
    return text


def frame(tokenizer: Any, roles: Sequence[str], *, generate: bool) -> Frame:
    """The frame of a conversation with these roles, with generation prompt if asked. Raises what templates raise."""
    marked = [{"role": role, "content": f"{OPEN}{i}{CLOSE}"} for i, role in enumerate(roles)]
    parts = MARK.split(render(tokenizer, marked, generate=generate))
    pieces, slots = tuple(parts[::2]), tuple(map(int, parts[1::2]))
    return Frame(pieces, slots, *_fault(pieces, slots, roles))


def _fault(pieces: Sequence[str], slots: Sequence[int], roles: Sequence[str]) -> tuple[str, str]:
    for number, role in enumerate(roles):
        if number not in slots:
            return "left_out", f"no text of message {number + 1} ({role}) in the rendering"
        if slots.count(number) > 1:
            return "written_twice", f"the text of message {number + 1} ({role}) {slots.count(number)} times"
    spoken = [number for number in slots if roles[number] != "system"]  # some releases move the system text
    if spoken != sorted(spoken):
        return "out_of_order", f"messages in the order {', '.join(str(number + 1) for number in slots)}"
    before = {
        role: {piece for piece, number in zip(pieces, slots, strict=False) if roles[number] == role}
        for role in ("user", "assistant")
    }
    if before["user"] & before["assistant"]:
        return "role_lost", f"{(before['user'] & before['assistant']).pop()!r} before what a user and an assistant say"
    return "", ""


def places(text: str, found: Frame, contents: Sequence[str]) -> tuple[list[tuple[int, int]], bool] | int:
    """Where each text stands in a rendering, in the order of `found.slots`; or the number of a message that does not.

    A template may trim the blanks around a text. One that looks into the texts (to take out reasoning, for example)
    may write another frame than around the marks: then the texts are looked for in their order, and False is returned
    beside the places.
    """
    exact = _within(text, found, contents)
    if exact is not None:
        return exact, True
    loose = _in_order(text, found, contents)
    return loose if isinstance(loose, int) else (loose, False)


def _within(text: str, found: Frame, contents: Sequence[str]) -> list[tuple[int, int]] | None:
    if not text.startswith(found.pieces[0]):
        return None
    at, found_at = len(found.pieces[0]), []
    for number, following in zip(found.slots, found.pieces[1:], strict=True):
        for form in _forms(contents[number]):
            end = at + len(form)
            if text.startswith(form, at) and text.startswith(following, end):
                break
        else:
            return None
        found_at.append((at, end))
        at = end + len(following)
    return found_at if at == len(text) else None


def _in_order(text: str, found: Frame, contents: Sequence[str]) -> list[tuple[int, int]] | int:
    at, found_at = 0, []
    for number in found.slots:
        start, form = min(
            ((place, form) for form in _forms(contents[number]) if (place := text.find(form, at)) >= 0),
            default=(-1, ""),
            key=lambda hit: (hit[0], -len(hit[1])),
        )
        if start < 0:
            return number
        at = start + len(form)
        found_at.append((start, at))
    return found_at


def _forms(content: str) -> tuple[str, ...]:
    """A text as it is, and as templates trim it."""
    stripped = content.strip()
    return (content,) if stripped == content else (content, stripped, content.rstrip(), content.lstrip())

"""Chosen/rejected files: dialogues with role markers, such as HH-RLHF, and the TRL preference layout."""

from __future__ import annotations

import re
from typing import Any

from components.errors import RecordError
from components.records.build import make_record, simple_task
from components.records.canonical import sha256
from components.records.importers.columns import answer, check_columns, got, refuse, said, text
from components.records.importers.messages import Messages, chat, holds_chat
from components.records.importers.options import Options
from components.records.importers.table import IMPORTERS
from components.records.importers.transcripts import is_half_transcript, is_transcript, names_people, turns
from components.records.schema import Record

PROMPT_REMOVED = "prompt_repeated"
"""Tag of a record whose answers both began with the whole prompt in the file."""
_SIDES = ("chosen", "rejected")
_COLUMNS = (*_SIDES, "prompt")
# the beginning of a text that a chat template has rendered: its turns are gone into control tokens
_RENDERED = re.compile(
    r"\s*(<s>\s*)?(<\|im_start\|>|<\|start_header_id\|>|<\|begin_of_text\|>|<start_of_turn>|<bos>|\[INST\]|<\|user\|>"
    r"|<\|system\|>|<\|start\|>|<\|User\|>|<|User|>|\[gMASK\])"
)


def pair_record(prompt: Messages, chosen: str, rejected: str, options: Options, tags: tuple[str, ...] = ()) -> Record:
    """A decided pair. The candidates stand in the order of their hashes, so that position does not tell the label."""
    if chosen == rejected:
        raise refuse(
            "identical_candidates_tie", "chosen", "and rejected are the same text (got one text twice). Drop it."
        )
    for name, completion in zip(_SIDES, (chosen, rejected), strict=True):
        if not completion.strip():
            raise refuse("candidate_not_empty", name, "has an empty completion (got ''). Leave the row out.")
    first, second = sorted((chosen, rejected), key=sha256)
    return make_record(
        task=simple_task(prompt, options.lang, **({"tags": list(tags)} if tags else {})),
        candidates=[options.candidate("a", first), options.candidate("b", second)],
        judgments=[{"type": "pairwise", "a": "a", "b": "b", "outcome": "a" if first == chosen else "b"}],
        annotator=options.person(),
        provenance=options.provenance(),
    )


def is_hh(row: dict[str, Any]) -> bool:
    sides = [row.get(name) for name in _SIDES]
    if not all(isinstance(side, str) for side in sides):
        return False
    if all(side.startswith("\n\nHuman:") for side in sides):  # type: ignore[union-attr]
        return True
    if row.get("prompt") is None:
        return all(map(is_transcript, sides))
    if names_people(row["prompt"]):
        return True
    return all(map(is_transcript, sides)) and _same_dialogue(row)


def _same_dialogue(row: dict[str, Any]) -> bool:
    """Whether answers with markers go on one dialogue; else they are texts that were asked for in this form."""
    try:
        chosen, rejected = (turns(row[name], name)[:-1] for name in _SIDES)
    except RecordError:
        return False
    asked = [message["content"] for message in chosen + rejected]
    return chosen == rejected or str(row["prompt"]).strip() in asked


@IMPORTERS.row(
    method=("CONV-14", "SRC-02"),
    revision=2,
    source="Bai et al. 2022, the HH-RLHF files",
    columns="chosen, rejected (dialogues such as 'Human: ... Assistant: ...'), or prompt as such a dialogue",
    matches=is_hh,
    known=_COLUMNS,
)
def hh(row: dict[str, Any], options: Options) -> Record:
    """Dialogues with role markers, such as HH-RLHF: {chosen, rejected}, each a whole dialogue, or {prompt} as one.

    Markers are Human/Assistant, User/Assistant, 用户/助手 and their like, at the start of lines, with or without `###`
    or blank lines between. The dialogues must be equal up to the last assistant turn; a prompt column beside them must
    be what they share, or their first or last user turn. Blanks around a turn are layout and dropped.
    """
    check_columns(row, _SIDES, ("prompt",), options.ignore_columns)
    if row.get("prompt") is not None and not any(is_transcript(row[name]) for name in _SIDES):
        return _after_dialogue(row, options)
    chosen, rejected = (_dialogue(text(row, name), name) for name in _SIDES)
    if chosen[:-1] != rejected[:-1]:
        what = f"and rejected differ before the last turn (got {len(chosen)} and {len(rejected)} turns)"
        raise refuse("prompts_differ", "chosen", f"{what}. Leave it out.")
    if not chosen[:-1]:
        raise refuse("no_prompt", "chosen", "has no turn before the answer (got one turn). Leave the row out.")
    _check_prompt(row, chosen[:-1], options)
    return pair_record(chosen[:-1], chosen[-1]["content"], rejected[-1]["content"], options)


def _dialogue(transcript: str, field: str) -> Messages:
    rows = turns(transcript, field)
    if rows[-1]["role"] != "assistant":
        raise refuse(
            "last_turn_not_assistant", field, "must end with an Assistant turn (got a Human turn). Drop the row."
        )
    return rows


def _after_dialogue(row: dict[str, Any], options: Options) -> Record:
    """A dialogue as the prompt, answers as texts."""
    prompt = turns(text(row, "prompt", "no_prompt"), "prompt")
    sides, tags = _unrepeated(row["prompt"], *(answer(row, name) for name in _SIDES))
    if prompt[-1] == {"role": "assistant", "content": ""}:
        prompt.pop()
    return pair_record(prompt, sides[0].strip(), sides[1].strip(), options, tags)


def is_trl(row: dict[str, Any]) -> bool:
    sides = [row.get(name) for name in _SIDES]
    return all(name in row for name in _SIDES) and not any(isinstance(side, dict) for side in sides) and not is_hh(row)


@IMPORTERS.row(
    method="CONV-14",
    revision=2,
    source="TRL, preference dataset layout",
    columns="chosen, rejected, and prompt or a shared start",
    matches=is_trl,
    known=_COLUMNS,
)
def trl(row: dict[str, Any], options: Options) -> Record:
    """TRL preference layout: {prompt, chosen, rejected}, text or chats; without `prompt` both sides start with it.

    Texts are kept to the character; a prompt that both answers repeat is removed from them, and the record says so by a
    tag. An implicit prompt of two texts is what they share, cut back to a blank or to the end of a sentence in scripts
    that have none, so that no word is split; of two chats it is the messages they share, with one assistant message
    left on each side. Chats may be JSON or Python text. A prompt that is null is missing, not implicit.
    """
    check_columns(row, _SIDES, ("prompt",), options.ignore_columns)
    if any(holds_chat(row[name]) for name in _SIDES):
        return pair_record(*_from_chats(row, options), options)
    return _from_texts(row, options)


def _from_texts(row: dict[str, Any], options: Options) -> Record:
    if "prompt" not in row:
        shared, chosen, rejected = _implicit_text(*(_plain(row, name) for name in _SIDES))
        return pair_record(_user(shared), chosen, rejected, options)
    given = row["prompt"]
    if holds_chat(given):
        prompt = chat(row, "prompt", options.ignore_columns)
    else:
        prompt = _user(said(text(row, "prompt", "no_prompt"), "prompt"))
    (chosen, rejected), tags = _unrepeated(prompt[-1]["content"], *(_plain(row, name) for name in _SIDES))
    return pair_record(prompt, chosen, rejected, options, tags)


def _plain(row: dict[str, Any], name: str) -> str:
    """An answer that is just text."""
    value = answer(row, name)
    if "prompt" not in row and (is_transcript(value) or is_half_transcript(value)):
        what = f"is a dialogue with role markers, in a layout not known or on one side only {got(value)}"
        raise refuse("wrong_value", name, f"{what}. Export the messages: [{{role, content}}].")
    rendered = _RENDERED.match(value)
    if rendered and ("prompt" not in row or _RENDERED.match(str(row["prompt"]))):
        what = f"was rendered with a chat template (got {rendered[0].strip()!r} first)"
        raise refuse("wrong_value", name, f"{what}. Export the messages: [{{role, content}}].")
    return value


def _user(content: str) -> Messages:
    return [{"role": "user", "content": content}]


_LONG = 20  # bytes: a shorter text may begin two answers by chance


def _unrepeated(prompt: str, chosen: str, rejected: str) -> tuple[tuple[str, str], tuple[str, ...]]:
    """The answers without the prompt that both of them begin with, and the tag that says so."""
    begins = all(side.startswith(prompt) for side in (chosen, rejected))
    if not begins or len(prompt.strip().encode("utf-8", errors="replace")) < _LONG:
        return (chosen, rejected), ()
    rests = (chosen[len(prompt) :], rejected[len(prompt) :])
    ends = prompt[-1].isspace() or not prompt[-1].isalnum() or all(rest[:1].isspace() or not rest for rest in rests)
    return (rests, (PROMPT_REMOVED,)) if ends else ((chosen, rejected), ())


_WIDE_MARKS = frozenset("。！？；：…」』）、，؟۔।")
_NARROW_MARKS = frozenset(":?!.;")
_TAIL = 12  # letters of a script without blanks that may be one word


def _implicit_text(chosen: str, rejected: str) -> tuple[str, str, str]:
    if chosen == rejected:
        return chosen, chosen, rejected  # refused by pair_record, with its reason
    shorter = min(len(chosen), len(rejected))
    end = common = next((i for i in range(shorter) if chosen[i] != rejected[i]), shorter)
    while end and not _boundary(chosen, rejected, end):
        end -= 1
    if sum(_unspaced(letter) for letter in chosen[end:common]) > _TAIL:
        what = f"and rejected share {common} letters, the last {common - end} without a blank or mark (got no end)"
        raise refuse("no_prompt", "chosen", f"{what}. Add a prompt column.")
    shared = chosen[:end].rstrip()  # the blank belongs to the completions, as in `prompt + completion`
    if not shared:
        raise refuse("no_prompt", "chosen", "and rejected share no prompt (got no common start). Add a prompt column.")
    return shared, chosen[len(shared) :], rejected[len(shared) :]


def _boundary(chosen: str, rejected: str, end: int) -> bool:
    """Whether a prompt may end before this place: after a blank, or a mark that no blank follows in such scripts."""
    before = chosen[end - 1]
    if before.isspace() or before in _WIDE_MARKS:
        return True
    return before in _NARROW_MARKS and _unspaced(chosen[end : end + 1]) and _unspaced(rejected[end : end + 1])


def _unspaced(letter: str) -> bool:
    """A letter of a script that writes no blanks between words: Thai to Khmer, Chinese, Japanese."""
    return (
        "\u0e00" <= letter < "\u1000"
        or "\u1000" <= letter < "\u10a0"
        or "\u1780" <= letter < "\u1800"
        or ("\u3040" <= letter < "\u3100" or "\u3400" <= letter < "\ua000" or letter >= "\U00020000")
    )


def _from_chats(row: dict[str, Any], options: Options) -> tuple[Messages, str, str]:
    sides = [chat(row, name, options.ignore_columns) for name in _SIDES]
    for name, side in zip(_SIDES, sides, strict=True):
        if side[-1]["role"] != "assistant":
            what = f"must end with an assistant message (got {side[-1]['role']})"
            raise refuse("last_turn_not_assistant", name, f"{what}. Drop the row.")
    shared = max((side[:-1] for side in sides), key=len)
    given = row.get("prompt")
    if holds_chat(given):
        prompt = chat(row, "prompt", options.ignore_columns)
        shared = shared if shared and shared[-len(prompt) :] == prompt else prompt
    elif isinstance(given, str) and not shared:
        shared = _user(said(text(row, "prompt", "no_prompt"), "prompt"))
    else:
        _check_prompt(row, shared, options)
    for name, side in zip(_SIDES, sides, strict=True):
        if side[:-1] != shared and not (given is not None and len(side) == 1):
            raise refuse("prompts_differ", name, f"does not start with the prompt (got {len(side)} messages). Drop it.")
    if not shared:
        raise refuse("no_prompt", "chosen", "has no message before the answer (got one message). Add a prompt column.")
    return shared, sides[0][-1]["content"], sides[1][-1]["content"]


def _check_prompt(row: dict[str, Any], shared: Messages, options: Options) -> None:
    """The prompt column beside whole dialogues is what they share, or its first or last user message."""
    given = row.get("prompt")
    if given is None:
        return
    asked = [message["content"].strip() for message in shared if message["role"] == "user"]
    if holds_chat(given):
        prompt = chat(row, "prompt", options.ignore_columns)
        agrees = shared[-len(prompt) :] == prompt
    elif is_transcript(given):
        told = turns(given, "prompt")
        agrees = shared == (told[:-1] if told[-1] == {"role": "assistant", "content": ""} else told)
    else:
        agrees = text(row, "prompt", "no_prompt").strip() in (asked[:1] + asked[-1:])
    if not agrees:
        what = f"is neither the first nor the last user message of the dialogues (got {str(given)[:60]!r})"
        raise refuse("prompts_differ", "prompt", f"{what}. Leave the row out.")

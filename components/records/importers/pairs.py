"""Chosen/rejected files: HH-RLHF dialogues and the TRL preference layout."""

from __future__ import annotations

import re
from typing import Any

from components.records.build import make_record, simple_task
from components.records.canonical import sha256
from components.records.importers.columns import chat, check_columns, refuse, text
from components.records.importers.options import Options
from components.records.importers.table import IMPORTERS
from components.records.schema import Record

Messages = list[dict[str, str]]
_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def pair_record(prompt: Messages, chosen: str, rejected: str, options: Options) -> Record:
    """A decided pair. The candidates stand in the order of their hashes, so that position does not tell the label."""
    if chosen == rejected:
        raise refuse(
            "identical_candidates_tie", "chosen", "and rejected are the same text (got one text twice). Drop it."
        )
    for name, completion in (("chosen", chosen), ("rejected", rejected)):
        if not completion.strip():
            raise refuse("candidate_not_empty", name, "has an empty completion (got ''). Leave the row out.")
    first, second = sorted((chosen, rejected), key=sha256)
    return make_record(
        task=simple_task(prompt, options.lang),
        candidates=[options.candidate("a", first), options.candidate("b", second)],
        judgments=[{"type": "pairwise", "a": "a", "b": "b", "outcome": "a" if first == chosen else "b"}],
        annotator=options.person(),
        provenance=options.provenance(),
    )


def is_hh(row: dict[str, Any]) -> bool:
    sides = [row.get("chosen"), row.get("rejected")]
    return all(isinstance(side, str) and side.startswith("\n\nHuman:") for side in sides)


@IMPORTERS.row(
    method=("CONV-14", "SRC-02"),
    source="Bai et al. 2022, the HH-RLHF files",
    columns="chosen, rejected (dialogues that start with '\\n\\nHuman:')",
    matches=is_hh,
)
def hh(row: dict[str, Any], options: Options) -> Record:
    """HH-RLHF: {chosen, rejected}, each a whole dialogue of `\\n\\nHuman:` and `\\n\\nAssistant:` turns.

    The dialogues must be equal up to the last assistant turn. Blanks around a turn are layout and dropped.
    """
    check_columns(row, ("chosen", "rejected"), (), options.ignore_columns)
    chosen, rejected = (_dialogue(text(row, name), name) for name in ("chosen", "rejected"))
    if chosen[:-1] != rejected[:-1]:
        got = f"{len(chosen)} and {len(rejected)} turns"
        raise refuse("prompts_differ", "chosen", f"and rejected differ before the last turn (got {got}). Leave it out.")
    if not chosen[:-1]:
        raise refuse("no_prompt", "chosen", "has no turn before the answer (got one turn). Leave the row out.")
    return pair_record(chosen[:-1], chosen[-1]["content"], rejected[-1]["content"], options)


def _dialogue(transcript: str, field: str) -> Messages:
    before, *turns = _TURN.split(transcript)
    if before.strip() or not turns:
        raise refuse("wrong_value", field, r"must start with '\n\nHuman:' (got other text first). Fix the row.")
    rows = [{"role": _ROLES[role], "content": said.strip()} for role, said in zip(turns[::2], turns[1::2])]
    if rows[-1]["role"] != "assistant":
        raise refuse(
            "last_turn_not_assistant", field, "must end with an Assistant turn (got a Human turn). Drop the row."
        )
    return rows


def is_trl(row: dict[str, Any]) -> bool:
    return "chosen" in row and "rejected" in row and not is_hh(row)


@IMPORTERS.row(
    method="CONV-14",
    source="TRL, preference dataset layout",
    columns="chosen, rejected, and prompt or a shared start",
    matches=is_trl,
)
def trl(row: dict[str, Any], options: Options) -> Record:
    """TRL preference layout: {prompt, chosen, rejected}, text or chats; without `prompt` both sides start with it.

    Texts are kept to the character. An implicit prompt of two texts is what they share, cut back to a blank, so that no
    word is split; of two chats it is the messages they share, with one assistant message left on each side.
    """
    check_columns(row, ("chosen", "rejected"), ("prompt",), options.ignore_columns)
    if isinstance(row["chosen"], list):
        prompt, chosen, rejected = _from_chats(row)
    elif "prompt" in row:
        prompt = chat(row, "prompt") if isinstance(row["prompt"], list) else _user(text(row, "prompt", "no_prompt"))
        rule = "candidate_not_empty"
        chosen, rejected = text(row, "chosen", rule), text(row, "rejected", rule)
    else:
        shared, chosen, rejected = _implicit_text(text(row, "chosen"), text(row, "rejected"))
        prompt = _user(shared)
    return pair_record(prompt, chosen, rejected, options)


def _user(content: str) -> Messages:
    return [{"role": "user", "content": content}]


def _implicit_text(chosen: str, rejected: str) -> tuple[str, str, str]:
    if chosen == rejected:
        return chosen, chosen, rejected  # refused by pair_record, with its reason
    shorter = min(len(chosen), len(rejected))
    end = next((i for i in range(shorter) if chosen[i] != rejected[i]), shorter)
    while end and not chosen[end - 1].isspace():
        end -= 1
    shared = chosen[:end].rstrip()  # the blank belongs to the completions, as in `prompt + completion`
    if not shared:
        raise refuse("no_prompt", "chosen", "and rejected share no prompt (got no common start). Add a prompt column.")
    return shared, chosen[len(shared) :], rejected[len(shared) :]


def _from_chats(row: dict[str, Any]) -> tuple[Messages, str, str]:
    chosen, rejected = chat(row, "chosen"), chat(row, "rejected")
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if side[-1]["role"] != "assistant":
            got = side[-1]["role"]
            raise refuse(
                "last_turn_not_assistant", name, f"must end with an assistant message (got {got}). Drop the row."
            )
    if "prompt" in row:
        given = row["prompt"]
        prompt = chat(row, "prompt") if isinstance(given, list) else _user(text(row, "prompt", "no_prompt"))
    else:
        prompt = chosen[:-1]
    for name, side in (("chosen", chosen), ("rejected", rejected)):
        if side[:-1] != prompt and not ("prompt" in row and len(side) == 1):
            raise refuse("prompts_differ", name, f"does not start with the prompt (got {len(side)} messages). Drop it.")
    if not prompt:
        raise refuse("no_prompt", "chosen", "has no message before the answer (got one message). Add a prompt column.")
    return prompt, chosen[-1]["content"], rejected[-1]["content"]

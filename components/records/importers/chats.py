"""Further layouts of chats: pairs as LLaMA-Factory writes them (ShareGPT), and single answers with a label (KTO)."""

from __future__ import annotations

from typing import Any

from components.records.build import make_record, simple_task
from components.records.importers.columns import answer, check_columns, got, refuse, said, text
from components.records.importers.messages import Messages, chat, holds_chat
from components.records.importers.options import Options
from components.records.importers.pairs import pair_record
from components.records.importers.table import IMPORTERS
from components.records.schema import Record


def is_sharegpt(row: dict[str, Any]) -> bool:
    return "conversations" in row and all(isinstance(row.get(side), dict) for side in ("chosen", "rejected"))


@IMPORTERS.row(
    method="CONV-14",
    source="LLaMA-Factory, preference data in the ShareGPT layout",
    columns="conversations, chosen, rejected ({from, value} each), and perhaps system",
    matches=is_sharegpt,
    known=("conversations", "chosen", "rejected", "system"),
)
def sharegpt(row: dict[str, Any], options: Options) -> Record:
    """ShareGPT pairs: {conversations: [{from, value}], chosen: {from, value}, rejected: {from, value}}, with `system`.

    `human` is the user, `gpt` the assistant.
    """
    check_columns(row, ("conversations", "chosen", "rejected"), ("system",), options.ignore_columns)
    prompt = chat(row, "conversations", options.ignore_columns)
    if row.get("system"):
        prompt = [{"role": "system", "content": text(row, "system")}, *prompt]
    sides = []
    for name in ("chosen", "rejected"):
        (message,) = chat({name: [row[name]]}, name, options.ignore_columns)
        if message["role"] != "assistant":
            raise refuse("last_turn_not_assistant", name, f"must be of gpt (got {message['role']}). Drop the row.")
        sides.append(message["content"])
    return pair_record(prompt, sides[0], sides[1], options)


def is_kto(row: dict[str, Any]) -> bool:
    return {"prompt", "completion", "label"} <= set(row)


@IMPORTERS.row(
    method="CONV-14",
    source="TRL, unpaired preference layout (KTO)",
    columns="prompt, completion, label (true: desirable)",
    matches=is_kto,
    known=("prompt", "completion", "label"),
)
def kto(row: dict[str, Any], options: Options) -> Record:
    """KTO labels: {prompt, completion, label: true|false}, text or chats; one answer, desirable or not."""
    check_columns(row, ("prompt", "completion", "label"), (), options.ignore_columns)
    if not isinstance(row["label"], bool):
        raise refuse("wrong_value", "label", f"must be true or false {got(row['label'])}. Fix the row.")
    return make_record(
        task=simple_task(_prompt(row, options), options.lang),
        candidates=[options.candidate("a", _completion(row, options))],
        judgments=[{"type": "binary", "cid": "a", "attribute": "desirable", "value": row["label"]}],
        annotator=options.person(),
        provenance=options.provenance(),
    )


def _prompt(row: dict[str, Any], options: Options) -> Messages:
    if not holds_chat(row["prompt"]):
        return [{"role": "user", "content": said(text(row, "prompt", "no_prompt"), "prompt")}]
    return chat(row, "prompt", options.ignore_columns)


def _completion(row: dict[str, Any], options: Options) -> str:
    if not holds_chat(row["completion"]):
        return answer(row, "completion")
    said_ = chat(row, "completion", options.ignore_columns)
    if len(said_) != 1 or said_[0]["role"] != "assistant":
        what = f"must be one assistant message (got {len(said_)} messages)"
        raise refuse("last_turn_not_assistant", "completion", f"{what}. Drop the row.")
    return said_[0]["content"]

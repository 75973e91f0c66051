"""The conversations of a feedback set, split into those to learn from and those held out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import RecordError
from components.records import Groups, candidate_text, messages, prompt_key, read_records


@dataclass(frozen=True)
class Conversation:
    """A prompt and one of its candidates."""

    messages: list[dict[str, Any]]
    completion: str


@dataclass
class Conversations:
    """Every (prompt, candidate) once. `dropped` counts what was not text."""

    train: list[Conversation] = field(default_factory=list)
    held_out: list[Conversation] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def read_conversations(records: Path, held_out: float) -> Conversations:
    """Read records.jsonl; all candidates of all prompts of a group are on one side (see `records.groups`)."""
    found, seen = Conversations(), set()
    groups = Groups(read_records(records))
    for record in read_records(records):
        key = prompt_key(record)
        side = found.held_out if groups.is_held_out(record, held_out) else found.train
        for candidate in record["candidates"]:
            try:
                prompt, text = messages(record), candidate_text(record, candidate["cid"])
            except RecordError as error:
                if error.rule != "text_only":
                    raise
                found.dropped["not_text_only"] += 1
                continue
            if (key, text) not in seen:
                seen.add((key, text))
                side.append(Conversation(prompt, text))
    return found

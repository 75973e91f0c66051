"""Which prompts are sampled: those of feedback that are not held out, or those of one split of a data set."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.contract import Inputs
from components.errors import RecordError, WiringError
from components.records import Groups, Record, messages, prompt_key, read_records
from components.response_sampling.params import Params

Prompt = tuple[str, list[dict[str, Any]]]  # (prompt key, messages)


def read_prompts(inputs: Inputs, params: Params, excluded: Counter[str]) -> list[Prompt]:
    """The chosen prompts in the order in which they are written; what is left out is counted in `excluded`.

    Raises WiringError unless exactly one of the ports `prompts` and `dataset` is given.
    """
    feedback, dataset = inputs.get("prompts"), inputs.get("dataset")
    if feedback is not None and dataset is None:
        found = list(_distinct(feedback.path / "records.jsonl", params.held_out, excluded))
        return choose(found, params.n_prompts, f"{params.seed}:")
    if dataset is not None and feedback is None:
        found = list(_distinct(dataset.path / f"{params.split}.jsonl", 0.0, excluded))
        return choose(found, params.n_prompts, f"{params.seed}\n")
    given = "both" if feedback else "none"
    raise WiringError(
        f"response_sampling --in: takes either prompts or dataset (got {given}). "
        "Pass prompts=FEEDBACK to sample for annotators, or dataset=DATASET to answer its held-out prompts."
    )


def _distinct(records: Path, held_out: float, excluded: Counter[str]) -> Iterator[Prompt]:
    """Every prompt once. Held-out prompts and prompts with media are counted in `excluded`."""
    seen = set()
    groups = Groups(read_records(records)) if held_out else None
    for record in read_records(records):
        key = prompt_key(record)
        if key in seen:
            continue
        seen.add(key)
        if groups is not None and groups.is_held_out(record, held_out):
            excluded["held_out"] += 1
        elif (prompt := _text(record, excluded)) is not None:
            yield key, prompt


def _text(record: Record, excluded: Counter[str]) -> list[dict[str, Any]] | None:
    try:
        return messages(record)
    except RecordError as error:
        if error.rule != "text_only":
            raise
        excluded["not_text_only"] += 1
        return None


def choose(prompts: list[Prompt], n: int, salt: str) -> list[Prompt]:
    """`n` prompts (0: all) by sha256(salt + key); adding prompts to a set changes the choice as little as possible.

    The salt is the seed with another end for each port, so that no port repeats the choice of the other.
    """
    rank = {key: hashlib.sha256(f"{salt}{key}".encode()).hexdigest() for key, _ in prompts}
    return sorted(prompts, key=lambda prompt: rank[prompt[0]])[: n or None]

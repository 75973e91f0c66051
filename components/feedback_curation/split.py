"""Splits by prompt, and the label inversion of experiments."""

from __future__ import annotations

import copy
import hashlib
from typing import Any

from components.records import (
    Record,
    prompt_key,
    prompt_share,
    record_id,
    shared_prompts,
    split_of,
)
from components.votes.ballots import SWAPPED

SPLITS = ("train", "validation", "test")


def split(records: list[Record], validation: float, test: float) -> dict[str, list[Record]]:
    """Records by split. All turns of a dialogue stay on one side (see `prompt_share`)."""
    splits: dict[str, list[Record]] = {name: [] for name in SPLITS}
    for record in records:
        name = split_of(prompt_share(record), validation=validation, test=test)
        record["provenance"]["split"] = name
        splits[name].append(record)
    shared = shared_prompts(splits)
    assert not shared, f"prompts in two splits: {shared[:3]}"
    return splits


def flip(records: list[Record], share: float, seed: int) -> int:
    """Invert the labels of round(share * n) records in place; returns how many.

    Those with the smallest sha256(seed, prompt, record) go first, so a larger share inverts the same ones and more.
    Each becomes another record: the id is recomputed, and `label_flip` stands in the annotator's groups.
    """

    def place(record: Record) -> str:
        text = f"{seed}:{prompt_key(record)}:{record['record_id']}"
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    invertible = [record for record in records if _has_direction(record)]
    chosen = sorted(invertible, key=place)[: round(share * len(invertible))]
    for record in chosen:
        record["judgments"] = [_inverted(judgment) for judgment in record["judgments"]]
        record["annotator"]["groups"] = [*record["annotator"]["groups"], "label_flip"]
        record["record_id"] = record_id(record)
    return len(chosen)


def _has_direction(record: Record) -> bool:
    return any(_inverted(j) != j for j in record["judgments"] if j["type"] != "distribution")


def _inverted(judgment: dict[str, Any]) -> dict[str, Any]:
    """The opposite judgment; ties and kinds without a direction stay as they are."""
    out = copy.deepcopy(judgment)
    match out["type"]:
        case "pairwise":
            out["outcome"] = SWAPPED.get(out["outcome"], out["outcome"])
            if "p_a" in out:
                out["p_a"] = round(1 - out["p_a"], 12)
        case "distribution":
            share = dict(zip(out["over"], out["probs"]))
            if {"a", "b"} <= set(share):
                out["probs"] = [share[SWAPPED.get(name, name)] for name in out["over"]]
        case "ranking":
            out["tiers"] = out["tiers"][::-1]
        case "binary":
            out["value"] = not out["value"]
        case "score":
            out["value"] = out["scale"]["min"] + out["scale"]["max"] - out["value"]
    return out

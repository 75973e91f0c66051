"""Splits by prompt, and the label inversion of experiments."""

from __future__ import annotations

import copy
import hashlib
from collections import Counter
from collections.abc import Iterable
from typing import Any

from components.contract import Input
from components.errors import DataError, ParamsError
from components.records import (
    Groups,
    Record,
    prompt_key,
    record_id,
    shared_prompts,
    split_of,
)
from components.votes.ballots import SWAPPED

SPLITS = ("train", "validation", "test")


def split(records: list[Record], validation: float, test: float) -> tuple[dict[str, list[Record]], dict[str, int]]:
    """Records by split, and how many of them said something else themselves ("declared -> split").

    All turns of a dialogue stay on one side, and all that a reader would call one prompt (see `records.groups`). A
    split that is declared is overridden: two sources can declare one prompt in two ways, and the steps before this one
    have kept back what the shares say. Raises DataError if a test split is asked for and nothing falls into it.
    """
    groups = Groups(records)
    splits: dict[str, list[Record]] = {name: [] for name in SPLITS}
    overridden: Counter[str] = Counter()
    for record in records:
        name = split_of(groups.share(record), validation=validation, test=test)
        declared = record["provenance"]["split"]
        if declared not in ("", name):
            overridden[f"{declared} -> {name}"] += 1
        record["provenance"]["split"] = name
        splits[name].append(record)
    shared = shared_prompts(splits)
    assert not shared, f"prompts in two splits: {shared[:3]}"
    if test > 0 and not splits["test"]:
        raise DataError(
            f"feedback_curation: the test split is empty, and evaluation needs it (got {len(groups)} prompts or "
            f"dialogues, test {test}). Give more prompts, raise test, or set test: 0 where nothing is evaluated."
        )
    return splits, dict(sorted(overridden.items()))


def check_held_out(inputs: Iterable[Input], needed: float) -> None:
    """No step behind these inputs may have sampled or learned from prompts that are kept here (a share of `needed`).

    What they kept back stands in the lineage; inputs without a record say nothing. Raises ParamsError.
    """
    behind = {key: made for item in inputs if item.record for key, made in item.record.as_ancestor().items()}
    for made in behind.values():
        name, params = made["component"].partition("@")[0], made["params"]
        learns = name == "base_model" and "conversations" in made["inputs"]
        samples = name == "response_sampling" and "prompts" in made["inputs"]
        if (learns or samples) and params.get("held_out", 0.0) < needed - 1e-9:
            raise ParamsError(
                f"feedback_curation: {name} used prompts that are to be kept for validation and test (got held_out "
                f"{params.get('held_out')}, validation + test = {needed:g}). Set {name}.held_out={needed:g} or more."
            )


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

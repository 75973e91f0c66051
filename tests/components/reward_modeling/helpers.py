"""Small data sets whose preferences are known, written as curated artifacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from components.records import make_record, simple_task, text_candidate, write_records

WORDS = ["fox", "dog", "quick", "brown", "lazy", "colour", "answer", "short"]


def record(prompt: str, chosen: str, rejected: str, **judgment: Any) -> dict[str, Any]:
    source = judgment.pop("source", "tests")
    annotator = judgment.pop("annotator", "human")
    return make_record(
        task=simple_task(prompt),
        candidates=[text_candidate("a", chosen), text_candidate("b", rejected)],
        judgments=[{"type": "pairwise", "a": "a", "b": "b", "outcome": "a", **judgment}],
        annotator={"id": "someone", "kind": annotator},
        provenance={"source": source, "license": "CC0-1.0"},
    )


def sentence(rng: np.random.Generator, length: int = 4) -> str:
    return " ".join(rng.choice(WORDS, length))


def labelled_pairs(n: int, seed: int, *, word: str = "please") -> list[dict[str, Any]]:
    """n prompts; the chosen completion holds `word`, the rejected one of the same length does not."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        place = int(rng.integers(4))
        good = sentence(rng).split()
        good[place] = word
        rows.append(record(f"question {seed} {i}", " ".join(good), sentence(rng)))
    return rows


def write_dataset(folder: Path, train: list[Any], validation: list[Any], test: list[Any]) -> Path:
    folder.mkdir(parents=True)
    for name, rows in (("train", train), ("validation", validation), ("test", test)):
        write_records(folder / f"{name}.jsonl", rows)
    for name in ("quarantine.jsonl", "card.html"):
        (folder / name).write_text("", encoding="utf-8")
    (folder / "summary.json").write_text(json.dumps({}), encoding="utf-8")
    return folder

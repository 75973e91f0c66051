"""Synthetic datasets and policies for policy_optimization, and a short way to run the component."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from components.contract import Record, run_component
from components.records import make_record, simple_task, text_candidate, write_records
from tests.tiny import save_tiny_policy

WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "writes", "short", "answers"]
FAST = {
    "compute": {"threads": 1},
    "max_length": 256,
    "optimization": {"learning_rate": 2e-3, "schedule": "constant", "warmup": 0.0, "batch_size": 8, "epochs": 1.0},
}


def texts(count: int, seed: int = 0) -> list[tuple[str, str, str]]:
    """(prompt, chosen, rejected) of a few words each."""
    rng = np.random.default_rng(seed)

    def words(low: int, high: int) -> str:
        return " ".join(rng.choice(WORDS, rng.integers(low, high)))

    return [(f"{i}: {words(2, 8)}", "good " + words(1, 6), "bad " + words(1, 6)) for i in range(count)]


def pair_record(prompt: str, a: str, b: str, outcome: str = "a", **judgment: Any) -> dict[str, Any]:
    return make_record(
        task=simple_task(prompt),
        candidates=[text_candidate("a", a), text_candidate("b", b)],
        judgments=[{"type": "pairwise", "a": "a", "b": "b", "outcome": outcome, "shown_order": ["a", "b"], **judgment}],
        annotator={"id": "t", "kind": "human"},
        provenance={"source": "test"},
    )


def save_dataset(folder: Path, train: list[dict[str, Any]], validation: list[dict[str, Any]] | None = None) -> Path:
    folder.mkdir(parents=True)
    splits = {"train": train, "validation": validation or [], "test": [], "quarantine": []}
    for name, records in splits.items():
        write_records(folder / f"{name}.jsonl", records)
    (folder / "summary.json").write_text("{}")
    (folder / "card.html").write_text("")
    return folder


def pair_dataset(folder: Path, count: int = 32) -> Path:
    rows = [pair_record(*text) for text in texts(count)]
    return save_dataset(folder, rows, [pair_record(*text) for text in texts(8, seed=1)])


def inputs(tmp_path: Path) -> dict[str, list[Path]]:
    """A tiny policy and 32 comparisons (8 for validation), made once per folder."""
    if not (tmp_path / "dataset").exists():
        pair_dataset(tmp_path / "dataset")
        save_tiny_policy(tmp_path / "policy")
    return {"dataset": [tmp_path / "dataset"], "policy": [tmp_path / "policy"]}


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    nested = {
        k: {**base.get(k, {}), **v} if isinstance(v, dict) and k != "objective" else v for k, v in changes.items()
    }
    return {**base, **nested}


def optimize(tmp_path: Path, name: str = "out", paths: dict[str, list[Path]] | None = None, **changes: Any) -> Record:
    """Run the component; outputs land in `tmp_path/name`."""
    outputs = {port: tmp_path / name / port for port in ("policy", "reference_logprobs")}
    return run_component("policy_optimization", merged(FAST, changes), paths or inputs(tmp_path), outputs)


def log(tmp_path: Path, name: str = "out") -> list[dict[str, float]]:
    lines = (tmp_path / name / "policy" / "training_log.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]

"""The cases of the data folder that are about splits, by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.feedback_curation.split import split
from tests.components.records.importing import import_file


def parts(cases_dir: Path, name: str) -> dict[str, list[dict[str, Any]]]:
    records: list[Any] = list(import_file(cases_dir / f"{name}.jsonl", source="case", license="CC0-1.0"))
    assert all(isinstance(record, dict) for record in records)
    return split(records, 0.1, 0.1)[0]


def test_same_opening(cases_dir: Path) -> None:
    """All dialogues open with the same words: the next turn tells them apart, and no split is empty."""
    assert all(len(part) > 0 for part in parts(cases_dir, "same_opening").values())


def test_same_prompt_other_bytes(cases_dir: Path) -> None:
    """A prompt in two Unicode forms is one prompt: both of its records are in one split."""
    seen: dict[str, set[str]] = {}
    for name, records in parts(cases_dir, "same_prompt_other_bytes").items():
        for record in records:
            number = "".join(c for c in record["task"]["messages"][0]["parts"][0]["text"] if c.isdigit())
            seen.setdefault(number, set()).add(name)
    assert len(seen) > 10
    assert all(len(names) == 1 for names in seen.values())

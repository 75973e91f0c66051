"""The scores artifact (what a witness makes of samples), read for those who choose among samples by it. Torch-free."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contract import Input
from components.errors import ArtifactError
from components.records.files import read_json, read_lines
from components.records.samples import Sample


@dataclass(frozen=True)
class SampleScores:
    """`witness`: kind, name and content id of what gave the scores. `values` by (prompt key, sample index)."""

    witness: dict[str, str]
    values: dict[tuple[str, int], float]
    path: Path

    def of(self, samples: Sequence[Sample]) -> list[float]:
        """The score of each sample. Raises ArtifactError for one that has none."""
        for sample in samples:
            if (sample.prompt_key, sample.sample) not in self.values:
                raise ArtifactError(
                    f"{self.path}/scores.jsonl: holds no score of sample {sample.sample} of prompt "
                    f"{sample.prompt_key[:12]}. Score these very samples, by a model that scores single texts."
                )
        return [self.values[sample.prompt_key, sample.sample] for sample in samples]


def read_sample_scores(scores: Input, samples: str) -> SampleScores:
    """The scores of the samples with this content id; rows about anything else, or without a score, are passed over.

    Raises ArtifactError if a score is no finite number, or if summary.json does not name the witness.
    """
    values: dict[tuple[str, int], float] = {}
    for line, row in enumerate(read_lines(scores.path / "scores.jsonl"), start=1):
        where = f"{scores.path}/scores.jsonl:{line}"
        if not isinstance(row, dict):
            raise ArtifactError(f"{where}: must be a mapping (got {type(row).__name__}). Rerun scoring.")
        if row.get("of") != "sample" or row.get("samples") != samples or row.get("score") is None:
            continue
        if not isinstance(row["score"], (int, float)) or not math.isfinite(row["score"]):
            raise ArtifactError(f"{where}: score is no number (got {row['score']}). Rerun scoring.")
        if not isinstance(row.get("prompt_key"), str) or not isinstance(row.get("sample"), int):
            raise ArtifactError(f"{where}: does not say prompt_key and sample (got {sorted(row)}). Rerun scoring.")
        values[row["prompt_key"], row["sample"]] = float(row["score"])
    return SampleScores(_witness(scores.path), values, scores.path)


def _witness(folder: Path) -> dict[str, str]:
    summary = read_json(folder / "summary.json", "Rerun scoring.")
    try:
        witness: dict[str, Any] = summary["witness"]
        return {name: str(witness[name]) for name in ("kind", "name", "id")}
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{folder}/summary.json: does not name the witness ({type(error).__name__}: {error}). Rerun scoring."
        ) from error

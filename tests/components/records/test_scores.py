"""Scores of samples: of these very samples, by one named witness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.contract import Input
from components.errors import ArtifactError, DataError
from components.records import write_lines
from components.records.samples import read_samples
from components.records.scores import read_sample_scores
from tests.components.samples_artifact import write_samples

ROW = {"of": "sample", "samples": "id", "sample": 0, "logps": None}


def scores(folder: Path, *rows: dict[str, Any], summary: Any = None) -> Input:
    folder.mkdir()
    write_lines(folder / "scores.jsonl", rows)
    witness = {"kind": "preference_model", "name": "bradley_terry", "id": "w"}
    (folder / "summary.json").write_text(json.dumps({"witness": witness} if summary is None else summary))
    return Input("scores", "scores", folder, "s")


def test_scores_are_found_by_prompt_and_sample_whatever_else_was_scored(tmp_path: Path):
    samples = read_samples(write_samples(tmp_path / "samples", {"p": ["x", "y"]}))
    key = samples[0].prompt_key
    rows = [
        {**ROW, "prompt_key": key, "sample": 1, "score": 2},
        {**ROW, "prompt_key": key, "score": -0.5},
        {**ROW, "prompt_key": key, "samples": "other", "score": 9.0},
        {"of": "pair", "a": "id", "b": "other", "prompt_key": key, "p": 0.7},
    ]
    found = read_sample_scores(scores(tmp_path / "scores", *rows), "id")
    assert found.of(samples) == [-0.5, 2.0]
    assert found.witness == {"kind": "preference_model", "name": "bradley_terry", "id": "w"}


def test_a_sample_without_a_score_is_named(tmp_path: Path):
    """Log-probabilities of a policy are no scores."""
    samples = read_samples(write_samples(tmp_path / "samples", {"p": ["x"]}))
    rows = [{**ROW, "prompt_key": samples[0].prompt_key, "score": None, "logps": [-0.1]}]
    with pytest.raises(ArtifactError, match="no score of sample 0 of prompt"):
        read_sample_scores(scores(tmp_path / "scores", *rows), "id").of(samples)


@pytest.mark.parametrize("value", ["high", float("nan")])
def test_a_score_that_is_no_number_is_refused_with_its_line(tmp_path: Path, value: Any):
    given = scores(tmp_path / "scores")
    (given.path / "scores.jsonl").write_text(json.dumps({**ROW, "prompt_key": "k", "score": value}) + "\n")
    with pytest.raises(DataError, match=r"scores\.jsonl:1: (score is no number|not a JSON line .NaN is not JSON)"):
        read_sample_scores(given, "id")


def test_scores_of_nobody_are_refused(tmp_path: Path):
    with pytest.raises(ArtifactError, match="does not name the witness"):
        read_sample_scores(scores(tmp_path / "scores", summary={}), "id")

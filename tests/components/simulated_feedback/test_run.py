"""simulated_feedback: reproducible votes whose quality is what the parameters say."""

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from components.contract import run_component
from components.contract.params import Choice, build
from components.errors import ParamsError
from components.records import validate
from components.simulated_feedback.params import Params
from components.simulation.world import parse
from tests.components.records.importing import import_file

SURE = {"size": 3, "careless": 0, "rationality": 1e6, "lapse": 0.0, "position_bias": 0.0, "length_bias": 0.0}


def simulate(folder: Path, **params: Any) -> tuple[list[dict[str, Any]], Any]:
    record = run_component("simulated_feedback", {"n_prompts": 120, **params}, {}, {"raw": folder / "raw"})
    text = (folder / "raw" / "labels.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()], record


def test_every_line_imports_as_a_record(tmp_path: Path) -> None:
    """The labels importer takes every vote; who the annotators are is said on import."""
    simulate(tmp_path)
    options = {"annotator_kind": "simulated", "annotator_revision": "SRC-04", "instructions_rev": "1"}
    imported = list(import_file(tmp_path / "raw" / "labels.jsonl", Choice("labels"), **options))
    assert len(imported) == 360
    for record in imported:
        validate(record)


def test_same_params_same_bytes(tmp_path: Path) -> None:
    """Same parameters give the same content id, another seed gives another."""
    first, second, other = (
        simulate(tmp_path / name, seed=seed)[1].outputs["raw"] for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == second != other


def test_one_line_per_vote(tmp_path: Path) -> None:
    """Each pair has votes_per_pair votes by different annotators, on two different answers to a prompt of the world."""
    lines, record = simulate(tmp_path, votes_per_pair=4)
    pairs = defaultdict(list)
    for line in lines:
        pairs[line["prompt"]].append(line)
    assert record.metrics["n_votes"] == len(lines) == 480
    for prompt, votes in pairs.items():
        assert parse(prompt) is not None
        assert len({vote["annotator"] for vote in votes}) == 4
        assert len({(vote["response_a"], vote["response_b"]) for vote in votes}) == 1
        assert votes[0]["response_a"] != votes[0]["response_b"]
    assert {line["shown_first"] for line in lines} == {"a", "b"}
    assert all(line["duration_ms"] > 0 for line in lines)


def test_sure_annotators_agree_with_the_truth_and_flipping_inverts_every_vote(tmp_path: Path) -> None:
    """flip = 1 changes every a to b and back, and nothing else."""
    straight, record = simulate(tmp_path / "straight", panel={**SURE, "tie_band": 0.0})
    inverted, flipped = simulate(tmp_path / "inverted", panel={**SURE, "tie_band": 0.0}, flip=1.0)
    assert record.metrics["agreement"] == 1.0
    assert flipped.metrics["agreement"] == 0.0
    swap = {"a": "b", "b": "a"}
    assert [{**line, "choice": swap[line["choice"]]} for line in straight] == inverted


def test_partial_flip_and_ties(tmp_path: Path) -> None:
    """A quarter of 720 votes inverted: agreement 0.75 within 4.5 standard errors of 0.017; ties stay ties."""
    votes = {"votes_per_pair": 6, "panel": {**SURE, "size": 6, "tie_band": 0.0}}
    _, record = simulate(tmp_path / "flip", flip=0.25, **votes)
    assert abs(record.metrics["agreement"] - 0.75) < 0.08
    lines, _ = simulate(tmp_path / "ties", panel={"tie_band": 3.0}, flip=1.0)
    plain, _ = simulate(tmp_path / "plain", panel={"tie_band": 3.0})
    assert Counter(line["choice"] for line in lines)["tie"] == Counter(line["choice"] for line in plain)["tie"] > 50


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"votes_per_pair": 13}, "votes_per_pair: must be between 1 and panel.size 12"),
        ({"flip": 1.2}, "flip: must be in"),
        ({"n_prompts": 0}, "n_prompts: must be at least 1"),
        ({"writers": {"lowest_quality": 0.9, "highest_quality": 0.5}}, "lowest_quality: must be below"),
    ],
)
def test_impossible_params_are_errors(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        build(Params, params, "params.simulated_feedback")

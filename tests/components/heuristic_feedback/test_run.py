"""heuristic_feedback as the contract runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.contract import Record, run_component
from components.errors import ParamsError
from components.heuristic_feedback.run import cyclic_prompts
from components.records import read_records, validate
from components.records.samples import SamplePair, read_samples
from tests.components.samples_artifact import write_samples

ENDED = {"completion": "fine", "token_ids": [1, 2, 3, 4]}
CUT = {"completion": "and so on and so on", "token_ids": [1, 2, 3, 4], "finish": "length"}
REPEATS = {"completion": "la la la la", "token_ids": [1, 1, 1, 1, 1]}


def run(samples: Path, out: Path, **params: object) -> Record:
    return run_component("heuristic_feedback", params, {"samples": [samples]}, {"feedback": out})


def test_what_the_rule_decides_is_a_record_and_silence_is_counted(tmp_path):
    prompts = {"cut": [CUT, ENDED], "loop": [ENDED, REPEATS], "both fine": [ENDED, ENDED | {"completion": "good"}]}
    record = run(write_samples(tmp_path / "s", prompts | {"same": [ENDED, ENDED]}), tmp_path / "out", threshold=0.5)
    rows = list(read_records(tmp_path / "out" / "records.jsonl"))
    for row in rows:
        validate(row)
    assert [row["judgments"][0]["outcome"] for row in rows] == ["b", "a"]
    assert rows[0]["annotator"]["kind"] == "heuristic"
    assert rows[0]["annotator"]["revision"] == "1"
    assert "p_a" not in rows[0]["judgments"][0]  # a rule has no probability
    wanted = {"n_prompts": 4, "n_pairs": 3, "n_identical": 1, "n_silent": 1, "n_records": 2, "n_cyclic_prompts": 0}
    assert {name: record.metrics[name] for name in wanted} == wanted
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["by_annotator_kind"] == {"heuristic": 2}


def test_two_runs_make_the_same_record(tmp_path):
    samples = write_samples(tmp_path / "s", {"cut": [CUT, ENDED]})
    assert run(samples, tmp_path / "a").to_json() == run(samples, tmp_path / "b").to_json()


def test_exchanging_the_samples_exchanges_the_outcome(tmp_path):
    outcomes = []
    for name, pair in (("there", [CUT, ENDED]), ("back", [ENDED, CUT])):
        run(write_samples(tmp_path / f"s-{name}", {"p": pair}), tmp_path / name)
        outcomes.append(next(read_records(tmp_path / name / "records.jsonl"))["judgments"][0]["outcome"])
    assert outcomes == ["b", "a"]


def test_circles_are_counted_by_prompt(tmp_path):
    samples = read_samples(write_samples(tmp_path, {"circle": ["x", "y", "z"], "line": ["x", "y", "z"]}))
    circle, line = samples[:3], samples[3:]
    decided = [(SamplePair(s[0], s[1]), "a") for s in (circle, line)]
    decided += [(SamplePair(s[1], s[2]), "a") for s in (circle, line)]
    decided += [(SamplePair(circle[0], circle[2]), "b"), (SamplePair(line[0], line[2]), "a")]
    assert cyclic_prompts(decided) == 1


def test_an_unknown_rule_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(ParamsError, match="Did you mean 'repetition_and_length'"):
        run(write_samples(tmp_path / "s", {"p": [CUT, ENDED]}), tmp_path / "out", rule="repetition_length")

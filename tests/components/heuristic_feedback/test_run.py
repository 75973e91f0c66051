"""heuristic_feedback as the contract runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.artifacts import content_id
from components.contract import Record, run_component
from components.errors import ArtifactError, ParamsError, WiringError
from components.heuristic_feedback.run import cyclic_prompts
from components.heuristics import Found
from components.records import demonstrations, read_lines, read_records, validate, write_lines
from components.records.samples import Sample, read_samples
from tests.components.samples_artifact import write_samples

ENDED = {"completion": "fine", "token_ids": [1, 2, 3, 4]}
CUT = {"completion": "and so on and so on", "token_ids": [1, 2, 3, 4], "finish": "length"}
REPEATS = {"completion": "la la la la", "token_ids": [1, 1, 1, 1, 1]}


RULE = {"name": "repetition_and_length"}
BEST = {"rule": {"name": "best_of_n"}}


def run(samples: Path, out: Path, scores: Path | None = None, **params: object) -> Record:
    inputs = {"samples": [samples], "scores": [scores] if scores else []}
    return run_component("heuristic_feedback", params, inputs, {"feedback": out})


def write_scores(folder: Path, samples: Path, values: list[float]) -> Path:
    """A score for each line of samples.jsonl."""
    folder.mkdir()
    rows = [
        {"of": "sample", "samples": content_id(samples), "prompt_key": s.prompt_key, "sample": s.sample, "score": value}
        for s, value in zip(read_samples(samples), values, strict=True)
    ]
    write_lines(folder / "scores.jsonl", rows)
    witness = {"kind": "preference_model", "name": "bradley_terry", "id": "0f.dir"}
    (folder / "summary.json").write_text(json.dumps({"witness": witness}))
    return folder


def test_what_the_rule_decides_is_a_record_and_silence_is_counted(tmp_path):
    prompts = {"cut": [CUT, ENDED], "loop": [ENDED, REPEATS], "both fine": [ENDED, ENDED | {"completion": "good"}]}
    record = run(
        write_samples(tmp_path / "s", prompts | {"same": [ENDED, ENDED]}),
        tmp_path / "out",
        rule=RULE | {"threshold": 0.5},
    )
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


def test_the_best_of_n_is_what_training_demonstrates(tmp_path):
    """One record per prompt: a ranking by the model that gave the scores. Equal scores and blank texts say nothing."""
    samples = write_samples(
        tmp_path / "s", {"p": ["good", "best", "bad"], "even": ["x", "y"], "blank": [" ", "fine", "poor"]}
    )
    scores = write_scores(tmp_path / "scores", samples, [0.5, 2.0, -1.0, 0.0, 0.0, 9.0, 1.0, 0.0])
    record = run(samples, tmp_path / "out", scores, **BEST)
    rows = list(read_records(tmp_path / "out" / "records.jsonl"))
    for row in rows:
        validate(row)
    assert [item.completion for item in demonstrations(rows).items] == ["best", "fine"]
    assert rows[0]["judgments"] == [{"type": "ranking", "tiers": [["s1"], ["s0"], ["s2"]], "complete": True}]
    assert [candidate["cid"] for candidate in rows[1]["candidates"]] == ["s1", "s2"]
    assert rows[0]["annotator"] == {
        "id": "bradley_terry",
        "kind": "reward_model",
        "revision": "0f.dir",
        "instructions_rev": "best_of_n@1",
        "groups": [],
        "ui_rev": "",
    }
    wanted = {"n_prompts": 3, "n_silent": 1, "n_records": 2, "n_quarantined": 1}
    assert dict(record.metrics) == wanted
    (bad,) = read_lines(tmp_path / "out" / "quarantine.jsonl")
    assert (bad["rule"], bad["line"]) == ("candidate_not_empty", 6)


def test_a_rule_gets_the_scores_it_needs_and_no_others(tmp_path):
    samples = write_samples(tmp_path / "s", {"p": ["x", "y"]})
    other = write_samples(tmp_path / "other", {"p": ["x", "z"]})
    with pytest.raises(WiringError, match="best_of_n needs the input 'scores'"):
        run(samples, tmp_path / "out", **BEST)
    scores = write_scores(tmp_path / "scores", other, [1.0, 2.0])
    with pytest.raises(WiringError, match="repetition_and_length reads no scores"):
        run(samples, tmp_path / "out", scores)
    with pytest.raises(ArtifactError, match="holds no score of sample 0"):
        run(samples, tmp_path / "out", scores, **BEST)


def test_circles_are_counted_by_prompt(tmp_path):
    """x over y, y over z: z over x closes a circle, x over z does not."""
    samples = read_samples(write_samples(tmp_path, {"circle": ["x", "y", "z"], "line": ["x", "y", "z"]}))

    def over(winner: Sample, loser: Sample) -> Found:
        return Found({"a": winner, "b": loser}, [{"type": "pairwise", "a": "a", "b": "b", "outcome": "a"}])

    chains = [over(s[i], s[i + 1]) for s in (samples[:3], samples[3:]) for i in (0, 1)]
    assert cyclic_prompts([*chains, over(samples[2], samples[0]), over(samples[3], samples[5])]) == 1


def test_an_unknown_rule_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(ParamsError, match="Did you mean 'repetition_and_length'"):
        run(write_samples(tmp_path / "s", {"p": [CUT, ENDED]}), tmp_path / "out", rule={"name": "repetition_length"})

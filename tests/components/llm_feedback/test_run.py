"""llm_feedback as the contract runs it: with the simulated judge, and with an endpoint on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.artifacts import content_id
from components.contract import Record, run_component
from components.errors import ArtifactError, JudgeError, ParamsError
from components.records import comparisons, read_lines, read_records, validate
from tests.components.judges.fake_endpoint import FakeEndpoint, Reply, fails, says, serve
from tests.components.samples_artifact import POLICY, SAMPLER, write_samples

KEY = "sk-loopback-9876543210"
WORLD = {
    "Name 3 fruits. Only the words.": ["apple, pear, plum.", "owl"],
    "Is tin a bird? Just yes or no.": ["Yes.", "No."],
    "Name 3 tools. Only the words.": ["apple.", "apple."],
}
PLAIN = {f"Question {i}?": [f"good {i}", f"bad {i}"] for i in range(4)}


def run(samples: Path, out: Path, **params: object) -> Record:
    return run_component("llm_feedback", params, {"samples": [samples]}, {"feedback": out})


def endpoint_params(endpoint: FakeEndpoint, **judge: object) -> dict[str, object]:
    return {"judge": {"kind": "openai", "model": "m", "base_url": endpoint.base_url, "retries": 0, **judge}}


def prefers_good(body: dict, number: int) -> Reply:
    text = body["messages"][1]["content"]
    return says("Because.\n[[A]]" if text.index("good") < text.index("bad") else "Because.\n[[B]]")


def mixed(body: dict, number: int) -> Reply:
    """0: consistent for good; 1: always the first; 2: no verdict; 3: always a tie."""
    text = body["messages"][1]["content"]
    which = next(i for i in range(4) if f"Question {i}?" in text)
    return [prefers_good(body, number), says("[[A]]"), says("Hm."), says("[[C]]")][which]


def test_the_simulated_judge_writes_valid_records_of_what_it_decides(tmp_path):
    record = run(write_samples(tmp_path / "s", WORLD), tmp_path / "out")
    records = list(read_records(tmp_path / "out" / "records.jsonl"))
    for row in records:
        validate(row)
    assert [(c.chosen, c.rejected) for c in comparisons(records).items] == [
        ("apple, pear, plum.", "owl"),
        ("No.", "Yes."),
    ]
    assert (record.metrics["n_records"], record.metrics["n_identical"]) == (2, 1)
    assert record.metrics["position_consistency"]["value"] == 1.0
    assert record.metrics["parse_failure_rate"]["value"] == 0.0


def test_a_record_says_who_judged_what_and_how(tmp_path):
    with serve(prefers_good) as endpoint:
        run(write_samples(tmp_path / "s", PLAIN), tmp_path / "out", **endpoint_params(endpoint, revision="2026-11"))
    row = next(read_records(tmp_path / "out" / "records.jsonl"))
    judgment, rationale = row["judgments"]
    expected = {"type": "pairwise", "a": "a", "b": "b", "outcome": "a", "p_a": 1.0, "shown_order": ["a", "b"]}
    assert judgment == expected
    assert (rationale["of"], rationale["text"]) == (0, "Because.\n[[A]]")
    assert (row["annotator"]["kind"], row["annotator"]["id"], row["annotator"]["revision"]) == ("llm", "m", "2026-11")
    assert row["annotator"]["instructions_rev"].startswith("pair_verdict@1:")
    assert row["annotator"]["temperature"] == 0.0
    generator = row["candidates"][0]["generator"]
    assert (generator["name"], generator["revision"], generator["params"]) == (POLICY, POLICY, SAMPLER)
    assert (row["candidates"][1]["generator"]["seed"], row["candidates"][1]["n_tokens"]) == (1, 3)
    assert row["provenance"]["data_rev"] == content_id(tmp_path / "s")


def test_every_pair_ends_in_a_record_a_drop_or_quarantine(tmp_path):
    """4 pairs: 1 win, 1 inconsistent, 1 without verdict, 1 consistent tie."""
    samples = write_samples(tmp_path / "s", PLAIN)
    with serve(mixed) as endpoint:
        tied = run(samples, tmp_path / "tie", **endpoint_params(endpoint))
        dropped = run(samples, tmp_path / "drop", inconsistent="drop", **endpoint_params(endpoint))
        strict = run(samples, tmp_path / "strict", inconsistent="drop", delta=0.25, **endpoint_params(endpoint))
    wanted = ("n_records", "n_ties", "n_undecided", "n_dropped", "n_quarantined")
    numbers = [tuple(r.metrics[name] for name in wanted) for r in (tied, dropped, strict)]
    assert numbers == [(3, 2, 1, 0, 1), (2, 1, 1, 1, 1), (1, 0, 2, 2, 1)]
    assert tied.metrics["position_consistency"]["value"] == 2 / 3
    assert tied.metrics["first_position_rate"]["value"] == 1.0
    assert tied.metrics["parse_failure_rate"]["value"] == 2 / 8
    outcomes = [row["judgments"][0]["outcome"] for row in read_records(tmp_path / "tie" / "records.jsonl")]
    assert outcomes == ["a", "tie", "tie"]
    row = next(read_lines(tmp_path / "tie" / "quarantine.jsonl"))
    assert (row["line"], row["rule"]) == (5, "has_parsed_judgment")
    assert "no verdict, or contradicting ones" in row["reason"]
    summary = json.loads((tmp_path / "tie" / "summary.json").read_text())
    assert (summary["n_records"], summary["quarantined_by_rule"]) == (3, {"has_parsed_judgment": 1})
    assert summary["by_annotator_kind"] == {"llm": 3}
    assert summary["served_models"] == ["judge-2026"]


def test_a_tie_after_disagreement_carries_no_rationale_for_one_side(tmp_path):
    with serve(lambda body, number: says("[[A]]")) as endpoint:
        run(write_samples(tmp_path / "s", PLAIN), tmp_path / "out", **endpoint_params(endpoint))
    assert [len(row["judgments"]) for row in read_records(tmp_path / "out" / "records.jsonl")] == [1] * 4


def test_a_run_from_the_cache_makes_the_same_bytes(tmp_path):
    """Fresh, interrupted-and-resumed, and fully cached runs end in one content id."""
    samples = write_samples(tmp_path / "s", PLAIN)
    with serve(prefers_good) as endpoint:
        params = endpoint_params(endpoint, concurrency=1)
        endpoint.answer = lambda body, number: prefers_good(body, number) if number <= 3 else fails(503)
        with pytest.raises(JudgeError):
            run(samples, tmp_path / "resumed", **params)
        assert not (tmp_path / "resumed").exists()
        endpoint.answer = prefers_good
        resumed = run(samples, tmp_path / "resumed", **params)
        asked = len(endpoint.requests)
        cached = run(samples, tmp_path / "cached", **params)
        assert len(endpoint.requests) == asked
    assert resumed.to_json() == cached.to_json()
    assert content_id(tmp_path / "resumed") == content_id(tmp_path / "cached")
    facts = [json.loads((tmp_path / f"{name}.execution.json").read_text()) for name in ("resumed", "cached")]
    assert [(f["judge_requests"], f["judge_cache_hits"]) for f in facts] == [(5, 3), (0, 8)]


def test_fresh_and_cached_runs_agree_in_separate_homes(tmp_path, monkeypatch):
    samples = write_samples(tmp_path / "s", PLAIN)
    with serve(mixed) as endpoint:
        ids = []
        for home in ("one", "two", "two"):
            monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / home))
            run(samples, tmp_path / "out", **endpoint_params(endpoint))
            ids.append(content_id(tmp_path / "out"))
    assert len(set(ids)) == 1


def test_the_key_is_in_no_file_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_JUDGE_KEY", KEY)
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home"))
    with serve(prefers_good) as endpoint:
        run(
            write_samples(tmp_path / "s", PLAIN),
            tmp_path / "out",
            **endpoint_params(endpoint, api_key_env="TEST_JUDGE_KEY"),
        )
    assert set(endpoint.keys) == {f"Bearer {KEY}"}
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 8  # 8 answers and the artifact
    assert not any(KEY.encode() in path.read_bytes() for path in files)


def test_a_cut_off_winner_is_flagged(tmp_path):
    cut = {"completion": "apple, pear, plum.", "finish": "length"}
    run(write_samples(tmp_path / "s", {"Name 3 fruits. Only the words.": [cut, "owl"]}), tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["flags"] == {"truncated_preferred": 1}


def test_a_judge_that_never_gives_a_verdict_is_a_wrong_setting(tmp_path):
    with serve(lambda body, number: says("Let me think", finish="length")) as endpoint:
        samples, params = write_samples(tmp_path / "s", PLAIN), endpoint_params(endpoint)
        with pytest.raises(
            ParamsError, match=r"not one of 4 pairs .*cut off at max_tokens: 8.* Raise judge.max_tokens"
        ):
            run(samples, tmp_path / "out", **params)


def test_no_pairs_give_an_empty_artifact_and_no_rates(tmp_path):
    record = run(write_samples(tmp_path / "s", {"p": ["x"]}), tmp_path / "out")
    assert (record.metrics["n_records"], record.metrics["n_prompts_single"]) == (0, 1)
    assert "position_consistency" not in record.metrics


@pytest.mark.parametrize(
    "params", [{"pairs_per_prompt": 0}, {"delta": 0.6}, {"inconsistent": "guess"}, {"judge": {"kind": "openai"}}]
)
def test_wrong_parameters_are_refused(tmp_path, params):
    with pytest.raises(ParamsError, match="llm_feedback"):
        run(write_samples(tmp_path / "s", PLAIN), tmp_path / "out", **params)


def test_samples_without_origin_are_refused(tmp_path):
    samples = write_samples(tmp_path / "s", PLAIN)
    (samples / "summary.json").write_text("{}")
    with pytest.raises(ArtifactError, match="does not say policy"):
        run(samples, tmp_path / "out")

"""llm_feedback as the contract runs it: with the simulated judge, and with an endpoint on loopback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.artifacts import content_id
from components.checks.check import execution_keys
from components.contract import Record, build, run_component
from components.errors import ArtifactError, JudgeError, ParamsError, WiringError
from components.llm_feedback.params import Params
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


def places(out: Path) -> dict[str, Path]:
    return {"feedback": out, "verdicts": out.with_name(f"{out.name}-verdicts")}


def run(samples: Path, out: Path, **params: object) -> Record:
    return run_component("llm_feedback", params, {"samples": [samples]}, places(out))


def endpoint_params(endpoint: FakeEndpoint, **judge: object) -> dict[str, object]:
    return {"judge": {"name": "endpoint", "model": "m", "base_url": endpoint.base_url, "retries": 0, **judge}}


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
        run(
            write_samples(tmp_path / "s", PLAIN),
            tmp_path / "out",
            **endpoint_params(endpoint, model_revision="2026-11"),
        )
    row = next(read_records(tmp_path / "out" / "records.jsonl"))
    first, second, combined, *rationales = row["judgments"]
    pairwise = {"type": "pairwise", "a": "a", "b": "b", "outcome": "a"}
    assert (first, second) == (pairwise | {"shown_order": ["a", "b"]}, pairwise | {"shown_order": ["b", "a"]})
    assert combined == pairwise | {"p_a": 1.0, "combined_of": [0, 1]}
    assert [(r["of"], r["text"]) for r in rationales] == [(0, "Because.\n[[A]]"), (1, "Because.\n[[B]]")]
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
        dropped = run(
            samples,
            tmp_path / "drop",
            source={"name": "both_orders", "inconsistent": "drop"},
            **endpoint_params(endpoint),
        )
        strict = run(
            samples,
            tmp_path / "strict",
            source={"name": "both_orders", "inconsistent": "drop", "delta": 0.25},
            **endpoint_params(endpoint),
        )
    wanted = ("n_records", "n_ties", "n_undecided", "n_dropped", "n_quarantined")
    numbers = [tuple(r.metrics[name] for name in wanted) for r in (tied, dropped, strict)]
    assert numbers == [(3, 2, 1, 0, 1), (2, 1, 1, 1, 1), (1, 0, 2, 2, 1)]
    assert tied.metrics["position_consistency"]["value"] == 2 / 3
    assert tied.metrics["first_position_rate"]["value"] == 1.0
    assert tied.metrics["parse_failure_rate"]["value"] == 2 / 8
    judged = [
        [j["outcome"] for j in row["judgments"] if j["type"] == "pairwise"]
        for row in read_records(tmp_path / "tie" / "records.jsonl")
    ]
    assert judged == [["a", "a", "a"], ["a", "b", "tie"], ["tie", "tie", "tie"]]
    row = next(read_lines(tmp_path / "tie" / "quarantine.jsonl"))
    assert (row["line"], row["rule"]) == (5, "has_parsed_judgment")
    assert "no verdict, or contradicting ones" in row["reason"]
    summary = json.loads((tmp_path / "tie" / "summary.json").read_text())
    assert (summary["n_records"], summary["quarantined_by_rule"]) == (3, {"has_parsed_judgment": 1})
    assert summary["by_annotator_kind"] == {"llm": 3}
    assert summary["served_models"] == ["m-2026-10"]


def test_every_pair_is_a_line_of_verdicts(tmp_path):
    """About the pair's own a and b, identical ones too; the summary says who judged what, with counts and rates."""
    samples = write_samples(tmp_path / "s", PLAIN | {"Same?": ["x", "x"]})
    with serve(mixed) as endpoint:
        record = run(samples, tmp_path / "out", **endpoint_params(endpoint))
    rows = list(read_lines(tmp_path / "out-verdicts" / "verdicts.jsonl"))
    assert [(row["first"], row["second"], row["identical"]) for row in rows] == [
        ("a", "a", False),
        ("a", "b", False),
        (None, None, False),
        ("tie", "tie", False),
        ("tie", "tie", True),
    ]
    me = content_id(samples)
    assert (rows[0]["a"], rows[0]["b"]) == ({"samples": me, "sample": 0}, {"samples": me, "sample": 1})
    assert (rows[0]["text_first"], rows[0]["text_second"]) == ("Because.\n[[A]]", "Because.\n[[B]]")
    assert (rows[2]["reason_first"], rows[2]["n_retries"]) == ("no verdict, or contradicting ones, in the answer", 4)
    assert (rows[0]["served_models"], rows[4]["served_models"]) == (["m-2026-10"], [])
    summary = json.loads((tmp_path / "out-verdicts" / "summary.json").read_text())
    assert summary["judge"] == {
        "id": "m",
        "kind": "llm",
        "revision": "m",
        "temperature": 0.0,
        "contract": "pair_verdict@1",
        "served_models": ["m-2026-10"],
    }
    assert (summary["samples"], summary["against"]) == (me, None)
    assert (summary["n_pairs"], summary["n_identical"], summary["n_asked"]) == (5, 1, 4)
    assert summary["position_consistency"] == record.metrics["position_consistency"]


def test_two_sets_of_samples_are_compared_prompt_by_prompt(tmp_path):
    """Sample 0 of each. A blank answer loses, and is no record to learn from; each record names both policies."""
    prompts = ["Name 3 fruits. Only the words.", "Is tin a bird? Just yes or no.", "Name 3 tools. Only the words."]
    good, other = ["apple, pear, plum.", "No.", "saw."], ["owl", "No.", " "]
    ours = write_samples(tmp_path / "ours", {p: [text, "ignored"] for p, text in zip(prompts, good)})
    theirs = write_samples(tmp_path / "theirs", {p: [text] for p, text in zip(prompts[::-1], other[::-1])})
    inputs = {"samples": [ours], "against": [theirs]}
    record = run_component("llm_feedback", {}, inputs, places(tmp_path / "out"))
    rows = list(read_lines(tmp_path / "out-verdicts" / "verdicts.jsonl"))
    assert [(row["first"], row["second"], row["identical"]) for row in rows] == [
        ("a", "a", False),
        ("tie", "tie", True),
        ("a", "a", False),
    ]
    ids = content_id(ours), content_id(theirs)
    assert {(row["a"]["samples"], row["b"]["samples"], row["b"]["sample"]) for row in rows} == {(*ids, 0)}
    (kept,) = read_records(tmp_path / "out" / "records.jsonl")
    assert [c["parts"][0]["text"] for c in kept["candidates"]] == ["apple, pear, plum.", "owl"]
    assert kept["provenance"]["data_rev"] == " + ".join(sorted(ids))
    (blank,) = read_lines(tmp_path / "out" / "quarantine.jsonl")
    assert (blank["rule"], blank["line"]) == ("candidate_not_empty", 5)
    assert (record.metrics["n_pairs"], record.metrics["n_identical"], record.metrics["n_records"]) == (2, 1, 1)
    summary = json.loads((tmp_path / "out-verdicts" / "summary.json").read_text())
    assert (summary["samples"], summary["against"]) == ids


def test_completions_are_graded_by_a_rubric(tmp_path):
    """One record per completion: a score on the rubric's scale, the feedback, and the rubric as its context."""

    def grades(body: dict, number: int) -> Reply:
        text = body["messages"][1]["content"]
        return says("Hm.") if "Question 3?" in text else says(f"So so.\n[RESULT] {5 if 'good' in text else 2}")

    samples = write_samples(tmp_path / "s", PLAIN | {"Blank?": ["good 9", " "]})
    grading = {"contract": {"name": "rubric_grade", "attribute": "wit"}, "source": {"name": "scores"}}
    with serve(grades) as endpoint:
        record = run(samples, tmp_path / "out", **endpoint_params(endpoint), **grading)
    rows = list(read_records(tmp_path / "out" / "records.jsonl"))
    score, critique = rows[0]["judgments"]
    assert (score["type"], score["attribute"], score["value"]) == ("score", "wit", 5)
    assert (score["scale"]["min"], score["scale"]["max"]) == (1, 5)
    assert (critique["type"], critique["text"]) == ("critique", "So so.\n[RESULT] 5")
    assert rows[0]["context"]["rubric"]["levels"]["1"].startswith("It does not do what was asked")
    assert rows[0]["annotator"]["instructions_rev"].startswith("rubric_grade@1:")
    found = comparisons(rows).items
    assert [(c.chosen, c.rejected) for c in found] == [(f"good {i}", f"bad {i}") for i in range(3)]
    wanted = {"n_asked": 9, "n_null": 2, "n_completions": 10, "n_records": 7, "n_quarantined": 3}
    assert {name: record.metrics[name] for name in wanted} == wanted
    assert record.metrics["parse_failure_rate"]["value"] == 2 / 9
    rules = [row["rule"] for row in read_lines(tmp_path / "out" / "quarantine.jsonl")]
    assert sorted(rules) == ["candidate_not_empty", "has_parsed_judgment", "has_parsed_judgment"]
    assert (tmp_path / "out-verdicts" / "verdicts.jsonl").read_text() == ""


def test_single_completions_are_compared_with_nothing(tmp_path):
    samples = write_samples(tmp_path / "s", WORLD)
    grading = {"contract": {"name": "rubric_grade"}, "source": {"name": "scores"}}
    inputs = {"samples": [samples], "against": [samples]}
    with pytest.raises(WiringError, match="rubric_grade@1 asks about single completions"):
        run_component("llm_feedback", grading, inputs, places(tmp_path / "out"))


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
    assert len(files) > 8  # 8 answers and the artifacts
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
            ParamsError, match=r"not one of 4 items .*cut off at max_tokens: 8.* Raise judge.max_tokens"
        ):
            run(samples, tmp_path / "out", **params)


def test_no_pairs_give_an_empty_artifact_and_no_rates(tmp_path):
    record = run(write_samples(tmp_path / "s", {"p": ["x"]}), tmp_path / "out")
    assert (record.metrics["n_records"], record.metrics["n_prompts_single"]) == (0, 1)
    assert "position_consistency" not in record.metrics


@pytest.mark.parametrize(
    "params",
    [
        {"pairs_per_prompt": 0},
        {"source": {"name": "both_orders", "delta": 0.6}},
        {"source": {"name": "both_orders", "inconsistent": "guess"}},
        {"source": {"name": "scores"}},
        {"contract": {"name": "rubric_grade"}},
        {"judge": {"name": "endpoint"}},
    ],
)
def test_wrong_parameters_are_refused(tmp_path, params):
    with pytest.raises(ParamsError, match="llm_feedback"):
        run(write_samples(tmp_path / "s", PLAIN), tmp_path / "out", **params)


def test_samples_without_origin_are_refused(tmp_path):
    samples = write_samples(tmp_path / "s", PLAIN)
    (samples / "summary.json").write_text("{}")
    with pytest.raises(ArtifactError, match="does not say policy"):
        run(samples, tmp_path / "out")


def test_how_a_judge_is_asked_does_not_belong_into_params_yaml():
    """`components check` looks into the chosen judge."""
    endpoint = {"name": "endpoint", "model": "m", "base_url": "http://localhost/v1", "timeout": 9.0}
    built = build(Params, {"judge": endpoint}, "llm_feedback")
    assert list(execution_keys(built, {"judge": endpoint}, "llm_feedback")) == ["llm_feedback.judge.timeout"]

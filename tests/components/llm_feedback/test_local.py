"""llm_feedback with a judge on this machine, as the contract runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.artifacts import content_id
from components.contract import Record, run_component
from components.errors import WiringError
from components.records import read_lines, read_records, validate
from tests.components.judges.local_policy import SAYS, write_policy
from tests.components.samples_artifact import write_samples

WORLD = {f"Question {i}?": [f"good {i}", f"bad {i}"] for i in range(3)}
LOCAL = {"name": "local", "max_tokens": 4, "threads": 1}


@pytest.fixture(scope="module")
def says_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_policy(tmp_path_factory.mktemp("judge") / "policy")


def run(samples: Path, model: Path, out: Path, **judge: Any) -> Record:
    places = {"feedback": out, "verdicts": out.with_name(f"{out.name}-verdicts")}
    return run_component("llm_feedback", {"judge": LOCAL | judge}, {"samples": [samples], "model": [model]}, places)


def execution(out: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(out.with_name(f"{out.name}.execution.json").read_text())
    return facts


def test_a_policy_judges_and_the_records_say_who_it_was(says_a: Path, tmp_path: Path) -> None:
    """It always names what is shown first: 3 pairs, 6 questions, 3 inconsistent verdicts, 3 ties."""
    record = run(write_samples(tmp_path / "s", WORLD), says_a, tmp_path / "out")
    me = content_id(says_a)
    assert record.inputs["model"] == me
    rows = list(read_records(tmp_path / "out" / "records.jsonl"))
    for row in rows:
        validate(row)
        assert [j["outcome"] for j in row["judgments"] if j["type"] == "pairwise"] == ["a", "b", "tie"]
        assert [j["text"] for j in row["judgments"] if j["type"] == "rationale"] == [SAYS, SAYS]
        who = row["annotator"]
        assert (who["id"], who["kind"], who["revision"], who["temperature"]) == (me, "llm", me, 0.0)
        assert who["instructions_rev"].startswith("pair_verdict@1:")
    assert (len(rows), record.metrics["n_ties"]) == (3, 3)
    assert record.metrics["position_consistency"]["value"] == 0.0
    assert record.metrics["first_position_rate"]["value"] == 1.0
    assert record.metrics["completion_tokens"] == 12
    summary = json.loads((tmp_path / "out-verdicts" / "summary.json").read_text())
    assert (summary["judge"]["id"], summary["judge"]["contract"]) == (me, "pair_verdict@1")
    assert execution(tmp_path / "out")["judge_requests"] == 6


def test_a_restart_asks_nothing_again_and_two_runs_have_equal_bytes(
    says_a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fresh twice, in homes of their own, and once more from the answers of the second. Drawn answers are of all sorts,
    so some questions are asked again."""
    samples = write_samples(tmp_path / "s", WORLD)
    ids, asked = set(), []
    for i, home in enumerate(("one", "two", "two")):
        monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / home))
        out = tmp_path / f"out{i}"
        record = run(samples, says_a, out, temperature=1.0)
        ids.add((content_id(out), content_id(out.with_name(f"{out.name}-verdicts")), json.dumps(record.to_json())))
        asked.append((execution(out)["judge_requests"], execution(out)["judge_cache_hits"]))
    assert len(ids) == 1
    requests = asked[0][0]
    assert requests > 6
    assert asked == [(requests, 0), (requests, 0), (0, requests)]


def test_a_pair_that_the_model_has_no_room_for_is_quarantined_with_the_reason(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "s", WORLD | {"Long?": ["x" * 3000, "y"]})
    record = run(samples, write_policy(tmp_path / "policy", positions=3000), tmp_path / "out")
    assert (record.metrics["n_records"], record.metrics["n_quarantined"], record.metrics["n_null"]) == (3, 1, 2)
    (row,) = read_lines(tmp_path / "out" / "quarantine.jsonl")
    assert row["rule"] == "has_parsed_judgment"
    assert row["reason"].endswith("the judge refused the question (context_length_exceeded)")


def test_judge_and_input_go_together(says_a: Path, tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "s", WORLD)
    places = {"feedback": tmp_path / "out", "verdicts": tmp_path / "verdicts"}
    with pytest.raises(WiringError, match=r"judge local: is the policy of the input 'model' \(got none\)"):
        run_component("llm_feedback", {"judge": LOCAL}, {"samples": [samples]}, places)
    with pytest.raises(WiringError, match="judge simulated: asks no input 'model'"):
        run_component("llm_feedback", {}, {"samples": [samples], "model": [says_a]}, places)


def test_a_judge_that_is_not_on_this_machine_needs_no_torch(tmp_path: Path) -> None:
    samples = write_samples(tmp_path / "s", {"Is tin a bird? Just yes or no.": ["Yes.", "No."]})
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({"llm_feedback": {}}))
    argv = ["run", "llm_feedback", "--params", str(params), "--in", f"samples={samples}"]
    argv += [f"--out={port}={tmp_path / port}" for port in ("feedback", "verdicts")]
    code = f"import sys; from components import cli; assert not cli.main({argv!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr

"""Answers that were paid for survive the machine: a killed run goes on elsewhere and asks only what is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from components.artifacts import Store
from components.errors import JudgeError
from components.remote import Remote
from components.remote.pod import run_with_remote
from components.remote.refs import Ref
from tests.components.judges.fake_endpoint import FakeEndpoint, Reply, fails, says, serve
from tests.components.samples_artifact import write_samples

PORTS = ["feedback", "verdicts"]
WORLD = {f"Question {i}?": [f"good {i}", f"bad {i}"] for i in range(4)}


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ref:
    """Four pairs in a remote that is a folder: eight questions."""
    monkeypatch.setenv("PREFLOW_REMOTE", str(tmp_path / "remote"))
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home1"))
    store = Store(tmp_path / "laptop")
    oid = store.put(write_samples(tmp_path / "samples", WORLD))
    Remote.configured().push(oid, store)
    return Ref(oid)


def params(endpoint: FakeEndpoint, **judge: object) -> dict[str, object]:
    return {"judge": {"name": "endpoint", "model": "m", "base_url": endpoint.base_url, "retries": 0, **judge}}


def verdict(body: dict, number: int) -> Reply:
    text = body["messages"][1]["content"]
    return says("[[A]]" if text.index("good") < text.index("bad") else "[[B]]")


def test_a_run_that_fails_goes_on_in_another_place(tmp_path, samples, monkeypatch):
    with serve(lambda body, number: verdict(body, number) if number <= 3 else fails(503)) as endpoint:
        with pytest.raises(JudgeError):
            run_with_remote("llm_feedback", params(endpoint, concurrency=1), {"samples": [samples]}, PORTS)
        asked, endpoint.answer = len(endpoint.requests), verdict
        monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home2"))
        record = run_with_remote("llm_feedback", params(endpoint, timeout=9.0), {"samples": [samples]}, PORTS)
        assert len(endpoint.requests) - asked == 8 - 3
    assert record.metrics["n_records"] == 4
    assert Remote.configured().execution(record.identity)["judge_cache_hits"] == 3


KILLED = """
import sys
from components import cli
from components.judges import cache
from components.remote import mirror
cache.EVERY = mirror.EVERY = 0.01
sys.exit(cli.main(sys.argv[1:]))
"""


def answers_in(checkpoints: Path) -> int:
    """How many answers the manifests of all steps name."""
    found = 0
    for manifest in checkpoints.glob("*/manifest.json"):
        for file in json.loads(manifest.read_text())["files"].values():
            found += len((manifest.parent / "objects" / file["md5"]).read_text().splitlines())
    return found


def test_a_killed_run_goes_on_in_another_place(tmp_path, samples, monkeypatch):
    """SIGKILL after 5 answers, as from a lost node: those that had reached the remote are not asked for again.

    The endpoint keeps the sixth question waiting until the remote holds the segments with the first five.
    """
    kept = tmp_path / "remote" / "preflow" / "checkpoints"

    def held(body: dict, number: int) -> Reply:
        if number > 5:
            time.sleep(60)
        return verdict(body, number)

    with serve(held) as endpoint:
        (tmp_path / "params.yaml").write_text(yaml.safe_dump({"llm_feedback": params(endpoint, concurrency=1)}))
        command = [sys.executable, "-c", KILLED, "run", "llm_feedback", "--params", str(tmp_path / "params.yaml")]
        command += ["--in", f"samples=dvc:{samples.oid}", *[f"--out={port}=dvc:" for port in PORTS]]
        step = subprocess.Popen(command, env={**os.environ, "PREFLOW_HOME": str(tmp_path / "home1")})
        while answers_in(kept) < 5:
            assert step.poll() is None
            time.sleep(0.02)
        step.send_signal(signal.SIGKILL)
        step.wait()
        asked, endpoint.answer = len(endpoint.requests), verdict
        monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home2"))
        record = run_with_remote("llm_feedback", params(endpoint), {"samples": [samples]}, PORTS)
        assert len(endpoint.requests) - asked == 8 - 5
    assert record.metrics["n_records"] == 4
    assert not list(kept.glob("*/manifest.json"))

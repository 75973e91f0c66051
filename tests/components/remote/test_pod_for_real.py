"""Real components in processes of their own, with a folder and with an S3 server as the remote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.artifacts import Store
from components.contract import run_component
from components.remote import Remote
from components.remote.pod import run_with_remote
from components.remote.refs import Ref
from components.training import loop
from tests.components.policy_optimization.helpers import FAST, inputs, merged, optimize
from tests.components.s3 import s3, s3_url

__all__ = ["s3", "s3_url"]

PARAMS = {
    "simulated_feedback": {"n_prompts": 40, "votes_per_pair": 3},
    "human_feedback": {"annotator": {"kind": "simulated", "revision": "1"}, "instructions_rev": "1"},
}


@pytest.fixture(params=["folder", "s3"])
def remote(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    url = str(tmp_path / "remote") if request.param == "folder" else request.getfixturevalue("s3_url")
    monkeypatch.setenv("PREFLOW_REMOTE", url)
    return Remote.configured()


def _push(remote: Remote, path: Path, tmp_path: Path) -> str:
    store = Store(tmp_path / "laptop")
    oid = store.put(path)
    remote.push(oid, store)
    return oid


def _run(*args: str, home: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PREFLOW_HOME": str(home)}
    command = [sys.executable, "-m", "components", "run", *args]
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def _ids(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    assert "\r" not in done.stderr
    return [line.split()[2] for line in done.stdout.splitlines()]


def test_pods_that_share_no_disk_make_what_a_laptop_makes(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    params = f"dvc:{_push(remote, tmp_path / 'params.yaml', tmp_path)}"
    first = ("simulated_feedback", "--params", params, "--out", "raw=dvc:")
    (raw,) = _ids(_run(*first, home=tmp_path / "pod1"))
    second = ("human_feedback", "--params", params, "--in", f"raw=dvc:{raw}", "--out", "feedback=dvc:")
    (feedback,) = _ids(_run(*second, home=tmp_path / "pod2"))

    here = tmp_path / "here"
    run_component("simulated_feedback", PARAMS["simulated_feedback"], {}, {"raw": here / "raw"})
    local = run_component(
        "human_feedback", PARAMS["human_feedback"], {"raw": [here / "raw"]}, {"feedback": here / "feedback"}
    )
    assert local.outputs == {"feedback": feedback}
    assert remote._at.read(f"preflow/records/{local.identity}.json") == (here / "feedback.record.json").read_bytes()
    again = _run(*second, home=tmp_path / "pod3")
    assert again.stdout.startswith(f"done before: human_feedback@2 {local.identity}")


TERMINATED = """
import os, signal, sys
from components import cli
from components.training import loop
step = loop._Loop.step
def watched(self, number, *rest):
    if number == 1:
        os.kill(os.getpid(), signal.SIGTERM)
    return step(self, number, *rest)
loop._Loop.step = watched
sys.exit(cli.main(sys.argv[1:]))
"""


def test_a_terminated_training_goes_on_in_another_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGTERM, as from an eviction: the checkpoint reaches the remote, and the next pod ends with the same bytes."""
    monkeypatch.setenv("PREFLOW_REMOTE", str(tmp_path / "remote"))
    remote = Remote.configured()
    ids = {port: _push(remote, path, tmp_path) for port, (path,) in inputs(tmp_path).items()}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"policy_optimization": merged(FAST, {})}))
    args = ["run", "policy_optimization", "--params", f"dvc:{_push(remote, tmp_path / 'params.yaml', tmp_path)}"]
    args += [word for port, oid in ids.items() for word in ("--in", f"{port}=dvc:{oid}")]
    args += ["--out", "policy=dvc:", "--out", "reference_logprobs=dvc:"]
    env = {**os.environ, "PREFLOW_HOME": str(tmp_path / "pod1")}
    stopped = subprocess.run([sys.executable, "-c", TERMINATED, *args], env=env, capture_output=True, check=False)
    assert stopped.returncode == 143, stopped.stderr.decode()
    assert list((tmp_path / "remote").glob("preflow/checkpoints/*/manifest.json"))

    plain, steps = loop._Loop.step, []
    with monkeypatch.context() as patch:
        patch.setattr(
            loop._Loop, "step", lambda self, number, *more: steps.append(number) or plain(self, number, *more)
        )
        patch.setenv("PREFLOW_HOME", str(tmp_path / "pod2"))
        refs = {port: [Ref(oid)] for port, oid in ids.items()}
        record = run_with_remote("policy_optimization", merged(FAST, {}), refs, ["policy", "reference_logprobs"])
    assert steps == [2, 3], "the first pod ended with the second step, in which the signal came"
    assert record.to_json() == optimize(tmp_path, "straight").to_json()
    assert not list((tmp_path / "remote").glob("preflow/checkpoints/*/manifest.json"))

"""A gang as its Job says it: two pods that share nothing but the remote, started here by hand from the rendered Job.

The control plane of the cluster tests is too old for Indexed Jobs and has no pod network. Command and environment are
taken from the rendered documents; only what a cluster adds is put in: the index, and a name that resolves.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from components.artifacts import Store
from components.contract.run import run_component
from components.remote import Remote
from flows.kubernetes.cluster import Cluster, Gpu
from flows.kubernetes.render import render
from flows.runner import Job
from flows.server import free_port
from tests.flows.kubernetes.lab import eventually
from tests.flows.project import REPO

pytestmark = pytest.mark.slow
IDENTITY = "0" * 32


class Gang:
    """The pods of one attempt, as processes."""

    def __init__(self, job: Job, cluster: Cluster, homes: Path) -> None:
        document = render(job, cluster, 1, project=REPO)[0]
        assert document["spec"]["completions"] == 2
        box = document["spec"]["template"]["spec"]["containers"][0]
        self.argv = [sys.executable, *box["command"][1:]]
        self.env = {item["name"]: item["value"] for item in box["env"] if "value" in item}
        assert self.env["PET_MASTER_ADDR"].endswith(".preflow")
        self.env |= {"PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(free_port()), "LOGNAME": "preflow"}
        self.homes = homes

    def start(self) -> list[subprocess.Popen[bytes]]:
        return [self._pod(index) for index in range(2)]

    def _pod(self, index: int) -> subprocess.Popen[bytes]:
        home = self.homes / f"pod-{index}"
        home.mkdir(parents=True, exist_ok=True)
        own = {"PET_NODE_RANK": str(index), "PREFLOW_HOME": str(home), "HOME": str(home), "HF_HOME": str(home / "hf")}
        own["PREFLOW_TERMINATION_LOG"] = str(home / "termination")
        env = {"PATH": os.environ["PATH"], **self.env, **own}
        with (home / "log").open("ab") as log:
            return subprocess.Popen(self.argv, env=env, cwd=REPO, stdout=log, stderr=log, start_new_session=True)

    def logs(self) -> str:
        return "\n".join((self.homes / f"pod-{i}" / "log").read_text()[-3000:] for i in range(2))


@pytest.fixture
def world(tmp_path: Path) -> tuple[Remote, str, dict[str, Any]]:
    """A remote that holds feedback; its id; the parameters of a small model that two processes train, sharded."""
    params = yaml.safe_load((REPO / "params.yaml").read_text())
    raw, feedback = tmp_path / "raw", tmp_path / "feedback"
    run_component("simulated_feedback", {**params["simulated_feedback"], "n_prompts": 120}, {}, {"raw": raw})
    run_component("human_feedback", params["human_feedback"], {"raw": [raw]}, {"feedback": feedback})
    remote, store = Remote(str(tmp_path / "remote")), Store(tmp_path / "store")
    oid = store.put(feedback)
    remote.push(oid, store)
    model = {"vocab_size": 300, "hidden": 32, "layers": 2, "heads": 2, "kv_heads": 1, "context": 512}
    small = {
        **params["base_model"],
        "tiny": model,
        "compute": {"device": "cpu", "threads": 1, "precision": "fp32", "processes": 2},
        "optimization": {**params["base_model"]["optimization"], "max_steps": 150, "batch_size": 8, "sharded": True,
                         "checkpoint_every": 5},
    }  # fmt: skip
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"base_model": small}))
    return remote, oid, small


def gang(tmp_path: Path, remote: Remote, oid: str, homes: str) -> Gang:
    store = Store(tmp_path / "store")
    params = store.put(tmp_path / "params.yaml")
    remote.push(params, store)
    job = Job("base_model", "base_model", "base_model", f"dvc:{params}", {"text": [f"dvc:{oid}"]}, {"policy": "dvc:"},
              IDENTITY, threads=1, processes=2, resources={"cpu": 1, "memory": "1Gi", "minutes": 5})  # fmt: skip
    cluster = replace(Cluster(name="two", image="x:1"), remote=remote.url, gpu=Gpu(per_pod=1))
    return Gang(job, cluster, tmp_path / homes)


def made(remote: Remote) -> dict[str, Any]:
    """The one record of a base model in the remote."""
    names = [p.name.removesuffix(".json") for p in Path(remote.url, "preflow/records").glob("*.json")]
    records = [remote.record(name) for name in names if "execution" not in name]
    (record,) = [record for record in records if record is not None and record.component.startswith("base_model")]
    return record.outputs


def test_two_pods_make_what_one_machine_makes_even_when_one_is_lost(
    tmp_path: Path, world: tuple[Remote, str, dict[str, Any]]
) -> None:
    """Both processes on one machine; two pods that share no disk; two pods of which one is killed in the midst of
    training, started again with empty disks: the same bytes."""
    remote, oid, _ = world
    env = {**os.environ, "PREFLOW_HOME": str(tmp_path / "one"), "PYTHONPATH": str(REPO)}
    one = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone", "-m", "components"]
    one += ["run", "base_model", "--params", "params.yaml", "--in", "text=feedback", "--out", "policy=policy"]
    done = subprocess.run(one, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:6000]
    wanted = Store(tmp_path / "store").put(tmp_path / "policy")

    first = gang(tmp_path, remote, oid, "first")
    pods = first.start()
    work = Path(remote.url) / "preflow" / "checkpoints"
    eventually(lambda: [p for p in work.rglob("*") if p.is_file()], 120)  # a checkpoint has reached the remote
    node = psutil.Process(pods[1].pid)
    for process in [node, *node.children(recursive=True)]:  # torchrun's workers are in a session of their own
        process.kill()
    assert pods[0].wait(120) != 0, "the other pod does not go on alone"
    assert not list(Path(remote.url, "preflow/records").glob("*")), "nothing looks finished"

    second = gang(tmp_path, remote, oid, "second")  # other nodes: nothing of the first is there
    for pod in second.start():
        assert pod.wait(180) == 0, second.logs()
    assert made(remote) == {"policy": wanted}
    assert not [p for p in work.rglob("*") if p.is_file()], "its checkpoints are gone"
    resumed = [line for line in second.logs().splitlines() if "base model" in line and "/150" in line]
    assert resumed, "there was something left to train"


def test_a_workers_exit_code_survives_torchrun(tmp_path: Path, world: tuple[Remote, str, dict[str, Any]]) -> None:
    """torchrun ends with 1; the termination message says that it was a user's mistake."""
    remote, oid, small = world
    wrong = {**small, "optimization": {**small["optimization"], "learning_rate": -1.0}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"base_model": wrong}))
    pods = gang(tmp_path, remote, oid, "wrong")
    codes = [pod.wait(120) for pod in pods.start()]
    assert codes == [1, 1], pods.logs()
    note = yaml.safe_load((pods.homes / "pod-0" / "termination").read_text())
    assert (note["error"], note["exit_code"]) == ("ParamsError", 2)
    assert "learning_rate" in note["message"]

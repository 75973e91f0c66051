"""`align` as Jobs on a real control plane, disturbed, ends with the content ids of an undisturbed laptop."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.contract.record import load_record
from flows.catalogue import flow_graph
from tests.components.s3 import KEY, S3, SECRET
from tests.flows.kubernetes import lab as labs
from tests.flows.kubernetes.lab import Lab, eventually
from tests.flows.project import dvc, environment, last_run, make_project, output_ids

pytestmark = pytest.mark.cluster
STEPS = 17
BASE, POLICY = 1500, 800  # steps of training: long enough to be disturbed in the midst of it
GPUS = {"reward_modeling": 1, "policy_optimization": 2}


@dataclass(frozen=True)
class Site:
    """A project whose default remote is a bucket, and the namespace its steps run in."""

    lab: Lab
    project: Path
    namespace: str
    env: dict[str, str]

    def preflow(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "flows.cli", *arguments]
        done = subprocess.run(argv, cwd=self.project, env=self.env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "flows.cli", "run", "align", "--runner", "kubernetes", "--cluster", "lab"]
        with (self.project / "driver.log").open("ab") as log:
            return subprocess.Popen(argv, cwd=self.project, env=self.env, stdout=log, stderr=log)

    def progress(self) -> list[int]:
        """How far the policy's training has come, line by line of its progress bar."""
        logs = sorted((self.project / "runs").glob("*/logs/policy_optimization.log"))
        text = logs[-1].read_text() if logs else ""
        return [int(step) for step in re.findall(rf"dpo:.*\| (\d+)/{POLICY} ", text)]

    def running(self, step: str) -> str:
        """The pod of a step, once it runs; empty until then."""
        pods = self.lab.get(self.namespace, "pods", f"preflow.dev/step={step}")
        return next((pod["metadata"]["name"] for pod in pods if pod["status"].get("phase") == "Running"), "")


def lengthen(project: Path) -> None:
    """More steps of training than the small project has, with checkpoints."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["base_model"]["optimization"]["max_steps"] = BASE
    params["policy_optimization"]["optimization"]["max_steps"] = POLICY
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


@pytest.fixture(scope="module")
def site(lab: Lab, store: S3, registry: str, tmp_path_factory: pytest.TempPathFactory) -> Site:
    namespace = "align"
    secret = {key: value for key, value in store.env.items() if key.endswith(("KEY", "KEY_ID"))}
    plain = {key: value for key, value in store.env.items() if key not in secret}
    labs.make_namespace(lab, namespace, secret)
    made = labs.profile(namespace, f"{store.bucket()}/dvc", {**plain, "MLFLOW_TRACKING_URI": registry})
    made["steps"] = {
        step: {"cpu": 0.5, "memory": "3Gi", "gpu": GPUS.get(step, 0)}
        for step in {node.section for node in flow_graph("align")[0].nodes.values()}
    }
    project = labs.make_cluster_project(tmp_path_factory.mktemp("cluster") / "project", made)
    lengthen(project)
    env = {**environment(project), **store.env, "MLFLOW_TRACKING_URI": registry, "KUBECONFIG": str(lab.kubeconfig)}
    return Site(lab, project, namespace, env)


@pytest.fixture(scope="module")
def repro(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.Popen[bytes]]:
    """The same graph and parameters by `dvc repro` on this machine, no cluster near; it runs meanwhile."""
    project = make_project(tmp_path_factory.mktemp("laptop") / "project")
    lengthen(project)
    with (project / "repro.log").open("wb") as log:
        argv = [sys.executable, "-m", "dvc", "repro"]
        return project, subprocess.Popen(argv, cwd=project, env=environment(project), stdout=log, stderr=log)


@pytest.fixture(scope="module")
def laptop(repro: tuple[Path, subprocess.Popen[bytes]]) -> Path:
    project, process = repro
    assert process.wait(600) == 0, (project / "repro.log").read_text()
    return project


@pytest.fixture(scope="module")
def finished(site: Site, repro: tuple[Path, subprocess.Popen[bytes]]) -> Site:
    """One pass, in whose course the driver is killed hard, the API server restarts, and a pod is evicted."""
    driver = site.start()
    eventually(lambda: site.running("base_model"), 240)
    driver.kill()
    driver.wait()
    driver = site.start()
    eventually(lambda: site.running("reward_modeling"), 300)
    site.lab.kill_api_server()
    site.lab.up()
    eventually(lambda: max(site.progress(), default=0) > POLICY // 20, 300)
    pod = site.running("policy_optimization")
    place = f"/api/v1/namespaces/{site.namespace}/pods/{pod}/eviction"
    body = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": pod, "namespace": site.namespace}}
    site.lab.kubectl("create", "--raw", place, "-f", "-", stdin=json.dumps(body))
    code = driver.wait(600)
    assert code == 0, (site.project / "driver.log").read_text()[-5000:]
    return site


def test_the_content_ids_are_those_of_a_laptop(finished: Site, laptop: Path) -> None:
    ids = output_ids(finished.project)
    assert len(ids) == STEPS + 3
    assert ids == output_ids(laptop)


def test_the_records_are_those_of_a_laptop(finished: Site, laptop: Path) -> None:
    """Parameters, inputs, metrics and lineage, byte for byte; only the decision of another registry may differ."""
    for file in sorted((laptop / "artifacts").rglob("*.record.json")):
        assert (finished.project / file.relative_to(laptop)).read_bytes() == file.read_bytes(), file.parent.name


def test_no_weights_came_to_the_driver(finished: Site) -> None:
    """The flow is a light process: it holds records and the pages a person opens, nothing else."""
    assert not list((finished.project / "artifacts").rglob("*.safetensors"))
    run = max((finished.project / "runs").glob("*/run.json")).parent
    assert (run / "evaluation-report.html").stat().st_size > 10_000
    assert (run / "registration-model_card.md").is_file()
    assert (run / "logs" / "policy_optimization.log").read_text().strip()


def test_gpu_steps_held_gpus_and_the_others_none(finished: Site) -> None:
    held: dict[str, int] = {}
    for job in finished.lab.get(finished.namespace, "jobs"):
        pod = job["spec"]["template"]["spec"]
        step = job["metadata"]["labels"]["preflow.dev/step"]
        held[step] = int(pod["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0))
    assert len(held) == STEPS
    assert {step: count for step, count in held.items() if count} == GPUS


def test_every_job_has_ended_and_none_was_run_twice_for_nothing(finished: Site) -> None:
    attempts: dict[str, list[dict[str, Any]]] = {}
    for job in finished.lab.get(finished.namespace, "jobs"):
        kinds = [item["type"] for item in job["status"].get("conditions", []) if item["status"] == "True"]
        assert {"Complete", "Failed"} & set(kinds), job["metadata"]["name"]
        attempts.setdefault(job["metadata"]["labels"]["preflow.dev/step"], []).append(job)
    assert {step for step, made in attempts.items() if len(made) > 1} <= {"policy_optimization"}, "only the evicted one"
    assert not [
        p for p in finished.lab.get(finished.namespace, "pods") if p["status"]["phase"] in ("Running", "Pending")
    ]


def test_the_killed_drivers_job_was_adopted(finished: Site) -> None:
    assert "adopted Job base-model-" in (finished.project / "driver.log").read_text()


def test_the_evicted_training_went_on_from_its_checkpoint(finished: Site) -> None:
    """Two pods began, and the second did not begin at 0: told to go, the first wrote a checkpoint and sent it away."""
    (log,) = (finished.project / "runs").glob("*/logs/policy_optimization.log")
    assert log.read_text().count("tokenize train:   0%") == 2
    seen = finished.progress()
    assert seen[0] == 0
    assert seen.count(0) == 1, seen
    assert seen == sorted(seen), "no step was taken twice"
    assert seen[-1] == POLICY


def test_no_secret_is_written_down(finished: Site) -> None:
    """Not in a manifest, a log, a run folder, a record, or what Prefect keeps."""
    jobs = json.dumps([finished.lab.get(finished.namespace, kind) for kind in ("jobs", "pods", "events", "configmaps")])
    assert SECRET not in jobs
    assert KEY not in jobs
    searched = 0
    for path in [p for p in finished.project.rglob("*") if p.is_file()]:
        data = path.read_bytes()
        searched += 1
        assert SECRET.encode() not in data, path
        assert KEY.encode() not in data, path
    assert searched > 50


def test_a_second_run_is_all_cache_hits(finished: Site) -> None:
    finished.preflow("run", "align", "--runner", "kubernetes", "--cluster", "lab")
    run: Any = last_run(finished.project)
    assert [step["status"] for step in run["steps"]] == ["cached"] * STEPS
    planned = finished.preflow("plan", "align", "--runner", "kubernetes", "--cluster", "lab").stdout
    assert planned.count("cached") == STEPS


def test_the_plan_asks_the_server_about_every_job(finished: Site) -> None:
    said = finished.preflow("plan", "align", "-r", "kubernetes", "--cluster", "lab", "-s", "base_model.seed=1").stdout
    assert said.count("accepted") == STEPS - 2, "all but the two before it, which are cached"


def test_another_machine_finds_what_was_made(finished: Site, tmp_path: Path) -> None:
    """A fresh clone with nothing but the bucket: every step is a hit, nothing runs."""
    made = yaml.safe_load((finished.project / "k8s" / "profiles" / "lab.yaml").read_text())
    clone = labs.make_cluster_project(tmp_path / "clone", made)
    lengthen(clone)
    Site(finished.lab, clone, finished.namespace, {**finished.env, **environment(clone)} | _kept(finished.env)).preflow(
        "run", "align", "--runner", "kubernetes", "--cluster", "lab"
    )
    run: Any = last_run(clone)
    assert [step["status"] for step in run["steps"]] == ["cached"] * STEPS
    assert load_record(clone / "artifacts/align/evaluation/report") is not None


def _kept(env: dict[str, str]) -> dict[str, str]:
    return {key: env[key] for key in ("MLFLOW_TRACKING_URI", "KUBECONFIG")}


def test_dvc_pull_and_repro_find_nothing_to_do(finished: Site, laptop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Last: it brings the weights here."""
    for name, value in finished.env.items():
        monkeypatch.setenv(name, value)
    dvc(finished.project, "pull", "dvc.yaml")
    assert list((finished.project / "artifacts").rglob("*.safetensors"))
    said = dvc(finished.project, "repro")
    assert "Running stage" not in said
    assert "up to date" in said
    status = dvc(finished.project, "status", "dvc.yaml")
    assert "up to date" in status
    mine, theirs = (yaml.safe_load((p / "dvc.lock").read_text()) for p in (finished.project, laptop))
    assert mine == theirs, "dvc.lock as `dvc repro` writes it, but for the order in which DVC walks its graph"

"""`preflow k8s` without a server: what it prints, and the mistakes that cost nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.flows.kubernetes import lab as labs
from tests.flows.project import preflow

REMOTE = "s3://bucket/dvc"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = labs.profile("preflow", REMOTE, {"MLFLOW_TRACKING_URI": "http://mlflow:5000"})
    return labs.make_cluster_project(tmp_path / "project", made)


def run(project: Path, *arguments: str, check: bool = True, **env: str) -> Any:
    own = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "KUBECONFIG": os.devnull, **env}
    return preflow(project, *arguments, check=check, env=own)


def test_render_prints_every_job_and_contacts_nothing(project: Path) -> None:
    documents = list(yaml.safe_load_all(run(project, "k8s", "render", "align", "--cluster", "lab").stdout))
    assert len(documents) == 17
    for document in documents:
        kubernetes_validate.validate(document, "1.32", strict=True)
    one = run(project, "k8s", "render", "align", "reward_modeling", "--cluster", "lab").stdout
    (document,) = yaml.safe_load_all(one)
    command = document["spec"]["template"]["spec"]["containers"][0]["command"]
    assert "dataset=dvc:<feedback_curation.dataset>" in command, "what is still to be made stands there by its name"


def test_render_of_several_processes_is_a_gang(project: Path) -> None:
    override = "policy_optimization.compute.processes=16"
    said = run(project, "k8s", "render", "align", "policy_optimization", "-c", "lab", "-s", override).stdout
    assert [document["kind"] for document in yaml.safe_load_all(said)] == ["Job", "Service"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "align", "--runner", "kubernetes"), "no cluster is named"),
        (("run", "align", "--runner", "kubernetes", "--cluster", "laab"), "Did you mean 'lab'"),
        (("run", "align", "--runner", "kuberntes"), "Did you mean 'kubernetes'"),
        (("k8s", "render", "align", "reward_modelling", "--cluster", "lab"), "Did you mean 'reward_modeling'"),
        (("k8s", "render", "algin", "--cluster", "lab"), "Did you mean 'align'"),
        (("k8s", "sweep"), "no cluster is named"),
        (("k8s", "check", "--cluster", "lab"), "KUBECONFIG"),
    ],
)
def test_mistakes_cost_nothing_and_exit_with_2(project: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(project, *arguments, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in " ".join((done.stdout + done.stderr).split())
    assert not (project / "runs").exists()


def test_what_pods_cannot_reach_is_refused_before_anything_runs(project: Path) -> None:
    profile = yaml.safe_load((project / "k8s/profiles/lab.yaml").read_text())
    labs.write_profile(project, {**profile, "remote": ""})
    (project / ".dvc" / "config").write_text(
        "[core]\n    remote = l\n['remote \"l\"']\n    url = ../.preflow/dvc-remote\n"
    )
    assert "pods cannot see a folder of this machine" in _refusal(project)
    labs.write_profile(project, {**profile, "env": {}})
    assert "pods need an MLflow server" in _refusal(project)
    labs.write_profile(project, profile)
    assert "the flow must see the registry" in _refusal(project, MLFLOW_TRACKING_URI="sqlite:///mlflow.db")


def _refusal(project: Path, **env: str) -> str:
    done = run(project, "run", "align", "--runner", "kubernetes", "--cluster", "lab", check=False, **env)
    assert done.returncode == 2, done.stdout + done.stderr
    return " ".join(done.stderr.split())

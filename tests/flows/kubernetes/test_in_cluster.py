"""A flow that runs in a pod, as a Prefect worker of the cluster starts it: its account is all it has."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.components.s3 import S3
from tests.flows.kubernetes.lab import Lab, claim, eventually, image, write_profile

pytestmark = pytest.mark.cluster


@pytest.fixture
def place(project: Path, made: dict[str, Any], lab: Lab, own_namespace: str) -> Path:
    """A project folder that the flow's pod has as a claim, in a namespace of its own; its training takes minutes."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["base_model"]["optimization"] |= {"max_steps": 200_000, "checkpoint_every": 500}
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    write_profile(project, {**made, "namespace": own_namespace, "patience": {"orphan_minutes": 0.02}})
    lab.apply(*claim(own_namespace, "project", project))
    subprocess.run(["chmod", "-R", "a+rwX", str(project)], check=True)
    return project


def pod(name: str, namespace: str, made: dict[str, Any], env: dict[str, str], *command: str) -> dict[str, Any]:
    """A light pod as k8s/prefect describes it, with the account preflow-submitter."""
    mounts = [{"name": claim, "mountPath": f"/opt/{claim}"} for claim in (*image(), "project")]
    variables = {**made["env"], **env, "HOME": "/tmp", "LOGNAME": "preflow", "PREFLOW_HOME": "/tmp/preflow"}
    container = {
        "name": "flow",
        "image": "example.invalid/preflow:lab",
        # process 1 is a shell that hears no SIGTERM: the flow behind it is only ever killed, and cannot clean up
        "command": ["sh", "-c", f"python -m flows.cli {' '.join(command)} & wait $!"],
        "workingDir": "/opt/project",
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "envFrom": [{"secretRef": {"name": "preflow-store"}}],
        "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False},
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],
    }
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in (*image(), "project")]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "preflow-submitter",
            "automountServiceAccountToken": True,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001},
            "containers": [container],
            "volumes": [*volumes, {"name": "tmp", "emptyDir": {}}],
        },
    }


def test_a_flow_in_a_pod_and_what_its_crash_leaves(
    place: Path, made: dict[str, Any], lab: Lab, store: S3, own_namespace: str
) -> None:
    """It submits with its token alone. When it is killed without a word, the sweeper, a pod with the same account, ends
    what it left behind."""
    run = ("run", "align", "--runner", "kubernetes", "--cluster", "lab")
    lab.apply(pod("flow", own_namespace, made, {}, *run))

    def trains() -> bool:
        return "base model:" in _log(lab, own_namespace, "flow")

    eventually(trains, 180)
    lab.kubectl("-n", own_namespace, "delete", "pod", "flow", "--grace-period=0", "--force")
    label = "app.kubernetes.io/component=step"
    assert [job for job in lab.get(own_namespace, "jobs", label) if not job["status"].get("conditions")], "an orphan"
    lab.apply(pod("sweeper", own_namespace, made, {}, "k8s", "sweep", "--cluster", "lab"))
    eventually(lambda: _phase(lab, own_namespace, "sweeper") in ("Succeeded", "Failed"), 120)
    said = _log(lab, own_namespace, "sweeper")
    assert "base-model-" in said, said

    def running() -> list[str]:
        pods = lab.get(own_namespace, "pods", label)
        return [p["metadata"]["name"] for p in pods if p["status"]["phase"] in ("Running", "Pending")]

    eventually(lambda: not running(), 150)
    jobs = lab.get(own_namespace, "jobs", label)
    assert all(job["status"].get("conditions") for job in jobs), "what has ended may stay to be looked at"


def _phase(lab: Lab, namespace: str, name: str) -> str:
    pods = lab.get(namespace, "pods")
    return next((str(p["status"]["phase"]) for p in pods if p["metadata"]["name"] == name), "")


def _log(lab: Lab, namespace: str, name: str) -> str:
    return lab.kubectl("-n", namespace, "logs", name, check=False)

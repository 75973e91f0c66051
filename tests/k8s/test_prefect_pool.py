"""The work pool's base job template, through the worker that is installed: the Job of a flow run."""

from __future__ import annotations

import asyncio
import copy
import re
from typing import Any
from uuid import uuid4

import jsonschema
import pytest

from tests.k8s.manifests import job_template, restricted, served_pods

pytest.importorskip("prefect_kubernetes", reason="prefect-kubernetes is not installed: pip install '.[dev]'")

from prefect.client.schemas.objects import Flow, FlowRun
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

IMAGE = "registry.example.com/preflow@sha256:" + "a" * 64
SERVER = {PREFECT_API_URL: "http://prefect-server:4200/api", PREFECT_API_AUTH_STRING: "preflow:hidden"}


def job(**values: Any) -> dict[str, Any]:
    """What the worker would send for a flow run of a deployment with these job variables."""
    template = job_template()
    jsonschema.validate(values, template["variables"])  # the server does this at `prefect deploy`
    client: Any = object()  # never asked: no value refers to a block or a variable
    made = asyncio.run(KubernetesWorkerJobConfiguration.from_template_and_values(template, values, client=client))
    flow = Flow(id=uuid4(), name="retrain")
    with temporary_settings(SERVER):
        made.prepare_for_flow_run(FlowRun(flow_id=flow.id, name="kind-otter"), flow=flow)
    return made.job_manifest


def pod(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = manifest["spec"]["template"]["spec"]
    assert isinstance(spec, dict)
    return spec


def environment(manifest: dict[str, Any]) -> dict[str, Any]:
    entries = pod(manifest)["containers"][0]["env"]
    assert len({e["name"] for e in entries}) == len(entries), "a variable twice"
    return {e["name"]: e.get("value", e.get("valueFrom")) for e in entries}


@pytest.mark.parametrize("version", ["1.30", "newest"])
def test_the_job_is_one_that_the_api_server_knows(version: str) -> None:
    import kubernetes_validate

    manifest = copy.deepcopy(job(image=IMAGE, finished_job_ttl=60))
    # Prefect's worker refuses a template without these two fields, which Kubernetes does not know there and drops.
    assert (pod(manifest).pop("parallelism"), pod(manifest).pop("completions")) == (1, 1)
    kubernetes_validate.validate(
        manifest, kubernetes_validate.latest_version() if version == "newest" else version, strict=True
    )
    assert "{{" not in str(manifest)


def test_the_job_runs_once_and_goes_away() -> None:
    manifest = job(image=IMAGE)
    assert manifest["metadata"]["namespace"] == "preflow"
    assert manifest["metadata"]["generateName"] == "kind-otter-"
    assert (manifest["spec"]["backoffLimit"], manifest["spec"]["ttlSecondsAfterFinished"]) == (0, 86400)
    assert pod(manifest)["restartPolicy"] == "Never"
    container = pod(manifest)["containers"][0]
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert container["workingDir"] == "/opt/preflow"
    assert container["resources"] == {"requests": {"cpu": "1", "memory": "2Gi"}, "limits": {"memory": "2Gi"}}


def test_the_pod_is_restricted_and_keeps_the_label_that_the_network_policies_select() -> None:
    manifest = job(image=IMAGE, labels={"team": "a"})
    assert list(restricted(pod(manifest))) == []
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/component"] == "flow-run"
    assert labels["app.kubernetes.io/managed-by"] == "prefect"
    assert labels["team"] == "a"


def test_flow_and_steps_run_the_same_image() -> None:
    manifest = job(image=IMAGE)
    assert pod(manifest)["containers"][0]["image"] == environment(manifest)["PREFLOW_IMAGE"] == IMAGE


def test_variables_reach_the_environment_and_a_deployment_can_add_to_it() -> None:
    env = environment(job(image=IMAGE, remote="gs://bucket/dvc", env={"HF_HUB_OFFLINE": "0"}))
    assert env["PREFLOW_REMOTE"] == "gs://bucket/dvc"
    assert env["MLFLOW_TRACKING_URI"] == "http://mlflow:5000"
    assert env["AWS_ENDPOINT_URL"] == "http://object-store:8333"
    assert env["HF_HUB_OFFLINE"] == "0"
    assert env["PREFECT_API_URL"] == "http://prefect-server:4200/api"
    assert environment(job(image=IMAGE))["PREFLOW_REMOTE"] == "s3://preflow/dvc"


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"image": ""},
        {"image": IMAGE, "image_pull_policy": "Sometimes"},
        {"image": IMAGE, "command": "sh -c ..."},
        {"image": IMAGE, "job_manifest": {}},
    ],
)
def test_a_deployment_that_cannot_work_or_brings_its_own_command_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        job(**values)


def test_every_variable_is_used_and_every_use_is_a_variable() -> None:
    template = job_template()
    used = set(re.findall(r"\{\{ (\w+) \}\}", str(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])
    assert template["variables"]["required"] == ["image"]


def test_the_auth_string_is_named_and_not_written_into_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker of k8s/base has two settings for that; here they are given to the worker's own code."""
    (worker,) = [p for p in served_pods("base") if p.owner == "prefect-worker"]
    settings = {e["name"]: e["value"] for e in worker.spec["containers"][0]["env"] if "value" in e}
    for name, value in settings.items():
        if name.startswith("PREFECT_INTEGRATIONS_"):
            monkeypatch.setenv(name, value)
    sent: list[dict[str, Any]] = []

    class Batch:
        def __init__(self, client: Any) -> None:
            pass

        async def create_namespaced_job(self, namespace: str, manifest: dict[str, Any]) -> None:
            sent.append(manifest)

    monkeypatch.setattr("prefect_kubernetes.worker.BatchV1Api", Batch)
    made: Any = type("Configuration", (), {"namespace": "preflow", "job_manifest": job(image=IMAGE)})()
    made.get_environment_variable_value = lambda name: "set"
    assert environment(made.job_manifest)["PREFECT_API_AUTH_STRING"] == "preflow:hidden"
    with temporary_settings(SERVER):
        asyncio.run(KubernetesWorker(work_pool_name="preflow")._create_job(made, object()))  # type: ignore[arg-type]
    assert environment(sent[0])["PREFECT_API_AUTH_STRING"] == {
        "secretKeyRef": {"name": "preflow-prefect", "key": "PREFECT_API_AUTH_STRING"}
    }
    assert "hidden" not in str(sent[0])
    assert settings["PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES"] == "preflow", "else it needs a ClusterRole"

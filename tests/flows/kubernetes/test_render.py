"""Step + profile -> Job: golden documents, and the rules every one of them keeps."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from components.errors import ParamsError, SpecError
from flows.kubernetes.cluster import Cluster, Gpu, Step, Storage, Volume, cluster_names, load_cluster
from flows.kubernetes.render import job_name, render, shape, times
from flows.runner import Job
from tests.flows.kubernetes.documents import CLUSTER, toy

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parent / "golden"
IMAGE = "reg.example/preflow@sha256:" + "a" * 64
FULL = replace(
    CLUSTER,
    env={"MLFLOW_TRACKING_URI": "http://mlflow:5000"},
    secrets=("preflow-store", "preflow-mlflow"),
    queue="preflow",
    placement={"priorityClassName": "preflow-training", "nodeSelector": {"disk": "ssd"}},
    gpu=Gpu(per_pod=4),
    storage=Storage(work="1Ti", shm="16Gi", volumes=(Volume("node-cache", "/cache"), Volume("data", "/data", True))),
    steps={"policy_optimization": Step(memory="400Gi", minutes=720, node_selector={"gpu": "h100"})},
)
CASES: dict[str, tuple[Job, Cluster]] = {
    "one-process-cpu": (toy(), CLUSTER),
    "one-gpu": (toy(device="cuda"), CLUSTER),
    "four-gpus-one-pod": (toy(device="cuda", processes=4), CLUSTER),
    "gang-with-everything": (toy(device="cuda", processes=8), FULL),
}


def documents(case: str, attempt: int = 1) -> list[dict[str, Any]]:
    job, cluster = CASES[case]
    return render(
        job, cluster, attempt, driver="driver:host:1:2.0", facts={"PREFLOW_GIT_COMMIT": "c0ffee"}, project=ROOT
    )


def pod_of(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["spec"]["template"]["spec"]
    return found


def environment(document: dict[str, Any]) -> dict[str, Any]:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in pod_of(document)["containers"][0]["env"]}


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    """`PREFLOW_GOLDEN=write` rewrites the files; read their diff as carefully as the code's."""
    text = yaml.safe_dump_all(documents(case), sort_keys=False, width=120)
    path = GOLDEN / f"{case}.yaml"
    if os.environ.get("PREFLOW_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("version", ["1.25", "1.32", "1.37"])
def test_every_document_validates_strictly(case: str, version: str) -> None:
    for document in documents(case):
        kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("case", CASES)
def test_every_pod_is_restricted(case: str) -> None:
    """Pod Security "restricted", rule by rule, and no token."""
    pod = pod_of(documents(case)[0])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    allowed = {"emptyDir", "persistentVolumeClaim", "configMap", "secret", "projected", "downwardAPI"}
    assert all(set(volume) - {"name"} <= allowed for volume in pod["volumes"])
    for container in pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not context.get("privileged")


@pytest.mark.parametrize("case", CASES)
def test_we_own_the_retries_and_every_job_ends(case: str) -> None:
    spec = documents(case)[0]["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] > 0
    assert spec["ttlSecondsAfterFinished"] > 0
    assert "activeDeadlineSeconds" not in spec["template"]["spec"], "the Job's, not the pod's"


def test_the_argv_is_the_one_of_a_laptop() -> None:
    """The same command line: only the references differ from paths."""
    command = pod_of(documents("one-process-cpu")[0])["containers"][0]["command"]
    assert command == ["python", *toy().argv()]
    launched = pod_of(documents("four-gpus-one-pod")[0])["containers"][0]["command"]
    assert launched == ["python", "-m", "torch.distributed.run", *toy().argv()]


def test_a_step_that_computes_on_cpus_takes_no_gpu() -> None:
    """The component could use one; with compute.device cpu it would hold it for nothing."""
    assert "nvidia.com/gpu" not in pod_of(documents("one-process-cpu")[0])["containers"][0]["resources"]["limits"]
    assert pod_of(documents("one-gpu")[0])["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    asked = replace(CLUSTER, steps={"policy_optimization": Step(gpu=2)})
    made = pod_of(render(toy(), asked, 1, project=ROOT)[0])["containers"][0]["resources"]
    assert made["limits"]["nvidia.com/gpu"] == "2"
    assert "nvidia.com/gpu" not in made["requests"], "requests of extended resources follow from limits"


def test_resources_are_per_process_unless_the_profile_says_per_pod() -> None:
    four = pod_of(documents("four-gpus-one-pod")[0])["containers"][0]["resources"]
    assert four["limits"] == {"memory": "128Gi", "nvidia.com/gpu": "4"}
    assert four["requests"] == {"cpu": "16", "memory": "128Gi"}
    said = pod_of(documents("gang-with-everything")[0])["containers"][0]["resources"]
    assert said["limits"]["memory"] == "400Gi"
    assert documents("gang-with-everything")[0]["spec"]["activeDeadlineSeconds"] == 720 * 60


def test_a_gang_is_an_indexed_job_with_a_service_that_names_its_pods() -> None:
    job, service = documents("gang-with-everything", attempt=3)
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 2, 2)
    name = job["metadata"]["name"]
    assert name.endswith("-a3")
    assert pod_of(job)["subdomain"] == service["metadata"]["name"] == name
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True, "they look for each other before they are ready"
    assert service["spec"]["selector"] == {"job-name": name}
    said = environment(job)
    assert (said["PET_NNODES"], said["PET_NPROC_PER_NODE"], said["PET_MAX_RESTARTS"]) == ("2", "4", "0")
    assert said["PET_MASTER_ADDR"] == f"{name}-0.{name}.preflow"
    assert "job-completion-index" in said["PET_NODE_RANK"]["fieldRef"]["fieldPath"]


def test_one_pod_with_several_processes_needs_no_name() -> None:
    documents_ = documents("four-gpus-one-pod")
    assert len(documents_) == 1
    said = environment(documents_[0])
    assert (said["PET_NNODES"], said["PET_NPROC_PER_NODE"]) == ("1", "4")
    assert "PET_MASTER_ADDR" not in said


def test_a_queued_job_starts_suspended_with_its_label() -> None:
    queued = documents("gang-with-everything")[0]
    assert queued["spec"]["suspend"] is True
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "preflow"
    assert "suspend" not in documents("one-gpu")[0]["spec"]


def test_secrets_are_named_never_written() -> None:
    pod = pod_of(documents("gang-with-everything")[0])
    assert pod["containers"][0]["envFrom"] == [
        {"secretRef": {"name": "preflow-store"}},
        {"secretRef": {"name": "preflow-mlflow"}},
    ]


def test_names_follow_from_identity_and_attempt() -> None:
    assert job_name(toy(), 1) == "policy-optimization-0123456789ab-a1"
    assert job_name(toy(), 2) != job_name(toy(), 1) != job_name(toy(identity="f" * 32), 1)
    long = job_name(toy(step="a_Very_" * 20), 12)
    assert len(long) <= 63 - 6, "pods add an index and a suffix of five"
    assert "--" not in long


def test_processes_must_fill_their_pods() -> None:
    assert (shape(toy(processes=8), CLUSTER).pods, shape(toy(processes=16), CLUSTER).pods) == (1, 2)
    with pytest.raises(ParamsError, match=r"multiple of what a pod takes \(got 12, and gpu.per_pod 8"):
        shape(toy(processes=12), CLUSTER)
    assert times("32Gi", 4) == "128Gi"
    with pytest.raises(SpecError, match="Write 32Gi"):
        times("0.5Gi", 2)


# ---- profiles


@pytest.mark.parametrize("name", cluster_names(ROOT))
def test_every_profile_loads_and_renders(name: str) -> None:
    cluster = load_cluster(name, ROOT, image=IMAGE)
    assert cluster.summary.endswith(".")
    for document in render(toy(device="cuda", processes=16), replace(cluster, remote="s3://b/p"), 1, project=ROOT):
        kubernetes_validate.validate(document, "1.32", strict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image: reg/preflow:1.0", "by digest"),
        ("image: reg/preflow\nimage_by_tag: true", "needs a tag"),
        ("image: preflow:latest\nimage_by_tag: true", "other than latest"),
        ("env: {AWS_SECRET_ACCESS_KEY: abc}", "looks like a secret"),
        ("env: {HF_TOKEN: abc}", "looks like a secret"),
        ("env: {PET_NNODES: '3'}", "set by the runner"),
        ("placement: {hostNetwork: true}", "not allowed here"),
        ("steps: {policy_optimizatoin: {gpu: 1}}", "Did you mean 'policy_optimization'"),
        ("quue: x", "Did you mean 'queue'"),
        ("image: ''", "no image is named"),
    ],
)
def test_mistakes_in_a_profile_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "k8s" / "profiles").mkdir(parents=True)
    (tmp_path / "k8s" / "profiles" / "mine.yaml").write_text(text + "\n")
    with pytest.raises(ParamsError, match=message) as caught:
        load_cluster("mine", tmp_path)
    assert "abc" not in str(caught.value), "what looks like a secret is not repeated"


def test_an_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(ParamsError, match="Did you mean 'gpu-cluster'"):
        load_cluster("gpu-clutser", ROOT)


def test_a_flow_in_the_cluster_lends_its_image_by_digest() -> None:
    assert load_cluster("gpu-cluster", ROOT, image=IMAGE).image == IMAGE
    with pytest.raises(ParamsError, match=r"PREFLOW_IMAGE.*by digest"):
        load_cluster("gpu-cluster", ROOT, image="reg.example/preflow:1.0")
    assert load_cluster("gpu-cluster", ROOT, runs_steps=False).image == "", "the sweeper runs no steps"

"""A step and a cluster's profile -> the Job that runs it, as plain documents. Pure: no server, no clock."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from components.contract.yaml_text import parse_yaml
from components.errors import ParamsError, SpecError
from flows.env import QUIET
from flows.kubernetes.cluster import TEMPLATE, Cluster
from flows.runner import Job

Document = dict[str, Any]

DOMAIN = "preflow.dev"
STEP, COMPONENT, IDENTITY, ATTEMPT = (f"{DOMAIN}/{name}" for name in ("step", "component", "identity", "attempt"))
RENEWED, DRIVER, COMMAND = (f"{DOMAIN}/{name}" for name in ("renewed", "driver", "command"))  # annotations
QUEUE_GROUP = "kueue.x-k8s.io"
QUEUE = f"{QUEUE_GROUP}/queue-name"
CONTAINER = "step"
MINUTE = 60  # seconds
PORT = 29500  # of the process group's store
INDEX = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Shape:
    """How many pods a step is, and how many processes run in each."""

    pods: int
    processes: int

    @property
    def gang(self) -> bool:
        return self.pods > 1


def shape(job: Job, cluster: Cluster) -> Shape:
    """Spread the processes of a step over pods. Raises ParamsError if they do not spread evenly."""
    per_pod = min(job.processes, cluster.gpu.per_pod)
    if job.processes % per_pod:
        raise ParamsError(
            f"step {job.step}: compute.processes must be a multiple of what a pod takes (got {job.processes}, and "
            f"gpu.per_pod {per_pod} of cluster {cluster.name}). Change one of them."
        )
    return Shape(job.processes // per_pod, per_pod)


STEPS = "app.kubernetes.io/managed-by=preflow,app.kubernetes.io/component=step"


def selector(identity: str) -> str:
    """The labels by which the Jobs and pods of a step are found."""
    return f"{STEPS},{IDENTITY}={identity}"


def job_name(job: Job, attempt: int) -> str:
    """`reward-modeling-3f2a91c07be4-a1`: the same step gets the same name, so that nothing is submitted twice."""
    step = re.sub(r"[^a-z0-9]+", "-", job.step.lower()).strip("-")[:36].strip("-") or "step"
    return f"{step}-{job.identity[:12]}-a{attempt}"


def render(
    job: Job,
    cluster: Cluster,
    attempt: int,
    *,
    driver: str = "",
    facts: Mapping[str, str] = MappingProxyType({}),
    project: Path = Path(),
) -> list[Document]:
    """The Job of one attempt, and the headless Service of a gang. Raises ParamsError, SpecError.

    `driver` marks whose it is, `facts` is environment that is true of this run only (the commit).
    """
    form, name = shape(job, cluster), job_name(job, attempt)
    made = _template(project)
    labels = {STEP: _label(job.step), COMPONENT: _label(job.component), IDENTITY: job.identity, ATTEMPT: str(attempt)}
    spec, template = made["spec"], made["spec"]["template"]
    made["metadata"] |= {"name": name, "namespace": cluster.namespace}
    made["metadata"]["labels"] |= labels
    made["metadata"]["annotations"] = {DRIVER: driver, COMMAND: " ".join(["python", *job.argv()])}
    template["metadata"]["labels"] |= labels
    wanted = cluster.step(job.step, job.section)
    minutes = wanted.minutes or int(job.resources.get("minutes", 24 * 60))
    spec["activeDeadlineSeconds"] = minutes * MINUTE
    spec["ttlSecondsAfterFinished"] = int(cluster.patience.keep_hours * 3600)
    _pod(template["spec"], job, cluster, form, name, facts)
    documents = [made]
    if cluster.queue:
        made["metadata"]["labels"][QUEUE] = cluster.queue
        spec["suspend"] = True  # Kueue starts it when there is room
    if form.gang:
        spec |= {"completionMode": "Indexed", "completions": form.pods, "parallelism": form.pods}
        template["spec"]["subdomain"] = name
        documents.append(_service(name, cluster, labels))
    return documents


def _template(project: Path) -> Document:
    path = project / TEMPLATE
    if not path.is_file():
        raise SpecError(f"{path}: no such file. Run from the project folder, which holds k8s/.")
    try:
        made = parse_yaml(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError(f"{path}: not valid YAML ({error}). Fix the syntax.") from error
    if not isinstance(made, dict):
        raise SpecError(f"{path}: must be a mapping (got {type(made).__name__}). Put the Job's template there.")
    return made


def _label(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:63].strip("._-")


def _pod(pod: Document, job: Job, cluster: Cluster, form: Shape, name: str, facts: Mapping[str, str]) -> None:
    wanted = cluster.step(job.step, job.section)
    pod["serviceAccountName"] = cluster.service_account
    pod |= copy.deepcopy(cluster.placement)
    if wanted.node_selector:
        pod["nodeSelector"] = {**pod.get("nodeSelector", {}), **wanted.node_selector}
    box = pod["containers"][0]
    box["image"] = cluster.image
    launcher = ["-m", "torch.distributed.run"] if job.processes > 1 else []
    box["command"] = ["python", *launcher, *job.argv()]
    box["env"] = _environment(box["env"], job, cluster, form, name, facts)
    if cluster.secrets:
        box["envFrom"] = [{"secretRef": {"name": name}} for name in cluster.secrets]
    box["resources"] = _resources(job, cluster, form)
    for volume in pod["volumes"]:
        if volume["name"] == "work":
            volume["emptyDir"]["sizeLimit"] = cluster.storage.work
        if volume["name"] == "shm":
            volume["emptyDir"]["sizeLimit"] = cluster.storage.shm
    for i, claim in enumerate(cluster.storage.volumes):
        source = {"claimName": claim.claim, **({"readOnly": True} if claim.read_only else {})}
        pod["volumes"].append({"name": f"claim-{i}", "persistentVolumeClaim": source})
        mount: Document = {"name": f"claim-{i}", "mountPath": claim.path}
        box["volumeMounts"].append({**mount, "readOnly": True} if claim.read_only else mount)


def _environment(
    template: list[Document], job: Job, cluster: Cluster, form: Shape, name: str, facts: Mapping[str, str]
) -> list[Document]:
    plain = {
        **QUIET,
        **{item["name"]: item["value"] for item in template},
        **({"OMP_NUM_THREADS": str(job.threads)} if job.threads else {}),
        **facts,
        **cluster.env,
        "PREFLOW_REMOTE": cluster.remote,
        "PREFLOW_IMAGE": cluster.image,
    }
    if job.processes > 1:  # torchrun reads its flags from PET_*
        plain |= {"PET_NNODES": str(form.pods), "PET_NPROC_PER_NODE": str(form.processes), "PET_MAX_RESTARTS": "0"}
    if form.gang:  # the pod of index 0, by the name that the headless Service gives it
        plain |= {"PET_MASTER_ADDR": f"{name}-0.{name}.{cluster.namespace}", "PET_MASTER_PORT": str(PORT)}
    variables: list[Document] = [{"name": name, "value": value} for name, value in plain.items() if value]
    if form.gang:
        rank = {"fieldRef": {"fieldPath": f"metadata.annotations['{INDEX}']"}}
        variables.append({"name": "PET_NODE_RANK", "valueFrom": rank})
    return variables


def _resources(job: Job, cluster: Cluster, form: Shape) -> Document:
    """Per pod: what the profile says, else what the component asks for, for each process."""
    wanted, asked = cluster.step(job.step, job.section), job.resources
    gpus = wanted.gpu if wanted.gpu is not None else form.processes if job.device == "cuda" else 0
    cpu = wanted.cpu if wanted.cpu is not None else float(asked.get("cpu", 1)) * form.processes
    memory = wanted.memory or times(str(asked.get("memory", "4Gi")), form.processes)
    limits = {"memory": memory, **({cluster.gpu.resource: str(gpus)} if gpus else {})}
    return {"requests": {"cpu": f"{cpu:g}", "memory": memory}, "limits": limits}


def times(quantity: str, factor: int) -> str:
    """`32Gi` times 4 is `128Gi`."""
    found = re.fullmatch(r"(\d+)([A-Za-z]*)", quantity)
    if found is None:
        raise SpecError(f"resources.memory: must be a whole number with a unit (got '{quantity}'). Write 32Gi.")
    return f"{int(found[1]) * factor}{found[2]}"


def _service(name: str, cluster: Cluster, labels: dict[str, str]) -> Document:
    """Gives every pod of a gang a name, from the start: they look for each other before they are ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": cluster.namespace,
            "labels": {"app.kubernetes.io/part-of": "preflow", "app.kubernetes.io/managed-by": "preflow", **labels},
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"job-name": name},
            "ports": [{"name": "store", "port": PORT}],
        },
    }

"""`k8s/profiles/NAME.yaml`: how one cluster runs steps. Execution only: nothing here is part of a step's identity."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from components.contract.params import build, read_params_file
from components.errors import ParamsError, nearest
from flows.catalogue import all_steps, section_components

FOLDER = Path("k8s") / "profiles"
TEMPLATE = Path("k8s") / "job.yaml"
_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")
_TAGGED = re.compile(r"[a-z0-9][^\s@]*:[\w][\w.-]*")
_SECRET_NAME = re.compile(r"(SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIAL|API_?KEY|ACCESS_KEY|PRIVATE|AUTH_STRING)", re.I)
_RESERVED = ("PET_", "PREFLOW_REMOTE", "PREFLOW_TERMINATION_LOG", "PREFLOW_IMAGE", "PREFLOW_PARENT_PID")


@dataclass(frozen=True)
class Gpu:
    """The accelerators of this cluster."""

    resource: str = "nvidia.com/gpu"
    """The extended resource that a pod asks for."""
    per_pod: int = 8
    """Most processes in one pod (one GPU each): what a node has. More processes become a gang of pods."""


@dataclass(frozen=True)
class Step:
    """What one step gets on this cluster, in place of what its component asks for (per pod)."""

    gpu: int | None = None
    """GPUs per pod; left out: one per process if compute.device is cuda, else none."""
    cpu: float | None = None
    """Cores per pod."""
    memory: str | None = None
    """Memory per pod, request and limit, such as 64Gi."""
    minutes: int | None = None
    """Deadline of one attempt."""
    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels a node must have, over those of the profile."""


@dataclass(frozen=True)
class Volume:
    """A PersistentVolumeClaim in every step's pod: a node cache, data, model weights."""

    claim: str
    """Its name, in the profile's namespace."""
    path: str
    """Where it is mounted."""
    read_only: bool = False
    """Steps cannot write to it."""


@dataclass(frozen=True)
class Storage:
    """Disk and shared memory of a pod."""

    work: str = "100Gi"
    """Most disk for inputs, outputs and checkpoints (an emptyDir)."""
    shm: str = "8Gi"
    """/dev/shm, for workers and NCCL; counts against the pod's memory."""
    volumes: tuple[Volume, ...] = ()
    """Claims to mount. For a cache that outlives pods mount one and set env PREFLOW_CACHE to its path."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for what may cure itself, and how often to try again."""

    unschedulable_minutes: float = 60.0
    """A pod that no node can take, or that a quota refuses, fails the step after this long (0: at once)."""
    pull_minutes: float = 10.0
    """An image that cannot be pulled fails the step after this long."""
    config_minutes: float = 2.0
    """A pod that cannot start (a missing secret, say) fails the step after this long."""
    unreachable_minutes: float = 30.0
    """The API server may be away for this long; the Job goes on meanwhile."""
    lost_pods: int = 20
    """How often a step may lose its node, be evicted or preempted. Each is tried again and counts as no failure."""
    keep_hours: float = 24.0
    """A finished Job is kept for this long, to be looked at."""
    orphan_minutes: float = 15.0
    """A Job whose driver has not been heard of for this long is swept (until then a rerun adopts it)."""


@dataclass(frozen=True)
class Cluster:
    """One cluster."""

    name: str
    """The profile's name."""
    summary: str = ""
    """One line for people."""
    image: str = ""
    """Image of every step, by digest: name@sha256:... ; empty: $PREFLOW_IMAGE (what a flow in the cluster runs as)."""
    image_by_tag: bool = False
    """Allow name:tag, for images that were loaded onto the nodes by hand and have no digest."""
    namespace: str = "preflow"
    """Where Jobs are made."""
    context: str = ""
    """Context of the kubeconfig; empty: its current one, or the service account of the pod this runs in."""
    service_account: str = "preflow-step"
    """Who a step is. It needs no permission and gets no token."""
    remote: str = ""
    """URL of the DVC remote as pods see it; empty: as .dvc/config has it."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment of every step. Secrets do not belong here: see `secrets`."""
    secrets: tuple[str, ...] = ()
    """Secrets of the namespace whose keys become environment variables of every step."""
    queue: str = ""
    """Kueue LocalQueue; Jobs are made suspended and Kueue starts them."""
    placement: dict[str, Any] = field(default_factory=dict)
    """More of the pod's spec: nodeSelector, tolerations, priorityClassName, affinity, imagePullSecrets."""
    gpu: Gpu = Gpu()
    """Accelerators."""
    storage: Storage = Storage()
    """Disk and shared memory."""
    patience: Patience = Patience()
    """Waiting and retrying."""
    steps: dict[str, Step] = field(default_factory=dict)
    """Resources by step, or by section of params.yaml for all steps that read it."""

    def step(self, name: str, section: str) -> Step:
        return self.steps.get(name) or self.steps.get(section) or Step()

    def check(self) -> None:
        """Rules over several fields; raises ParamsError."""
        _check_image(self)
        for name in self.env:
            if _SECRET_NAME.search(name):
                raise ParamsError(
                    f"env.{name}: looks like a secret, and this file is no place for one. Put it into a Secret of the "
                    "namespace and name that under `secrets`."
                )
            if name.startswith(_RESERVED):
                raise ParamsError(f"env.{name}: is set by the runner. Remove it.")
        for key in self.placement:
            if key not in PLACEMENT:
                raise ParamsError(f"placement.{key}: not allowed here.{nearest(key, PLACEMENT)}")


PLACEMENT = ("nodeSelector", "tolerations", "priorityClassName", "affinity", "imagePullSecrets", "schedulerName",
             "topologySpreadConstraints", "runtimeClassName")  # fmt: skip


def _check_image(cluster: Cluster) -> None:
    if not cluster.image or _DIGEST.fullmatch(cluster.image):
        return
    if not cluster.image_by_tag:
        raise ParamsError(
            f"image: must be by digest, name@sha256:... (got '{cluster.image}'), so that every pod of every attempt "
            "runs the same bytes. For an image loaded onto the nodes by hand set image_by_tag: true."
        )
    if not _TAGGED.fullmatch(cluster.image) or cluster.image.endswith(":latest"):
        raise ParamsError(f"image: needs a tag other than latest (got '{cluster.image}'). Write name:tag.")


def cluster_names(project: Path) -> list[str]:
    return sorted(path.stem for path in (project / FOLDER).glob("*.yaml"))


def load_cluster(name: str, project: Path, image: str = "", *, runs_steps: bool = True) -> Cluster:
    """A profile of `project`/k8s/profiles. Raises ParamsError.

    `image` (the flow's own, $PREFLOW_IMAGE) is used where the profile names none; without `runs_steps` none is needed.
    """
    if name not in cluster_names(project):
        raise ParamsError(f"--cluster {name}: no {FOLDER / name}.yaml here.{nearest(name, cluster_names(project))}")
    where = f"{FOLDER / name}.yaml"
    raw = read_params_file(project / FOLDER / f"{name}.yaml")
    cluster = build(Cluster, {"name": name, **raw}, where)
    known = set(section_components()) | {node.name for _, node in all_steps()}
    for step in set(cluster.steps) - known:
        raise ParamsError(f"{where}.steps: no step or section '{step}'.{nearest(step, known)}")
    if cluster.image or not runs_steps:
        return cluster
    if not image:
        raise ParamsError(f"{where}.image: no image is named, here or in PREFLOW_IMAGE. Write name@sha256:...")
    cluster = replace(cluster, image=image)
    try:
        _check_image(cluster)
    except ParamsError as error:
        raise ParamsError(f"PREFLOW_IMAGE, for want of {where}.{error}") from None
    return cluster

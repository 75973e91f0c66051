"""What the tests of the manifests share: render an overlay, walk its pods, the rules of Pod Security "restricted"."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import yaml

from tests.house.tree import ROOT

K8S = ROOT / "k8s"
OVERLAYS = ("base", "overlays/kind", "overlays/gpu-cluster", "overlays/with-kueue")
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl: manifests cannot be rendered")

Document = dict[str, Any]


@cache
def rendered(overlay: str) -> tuple[Document, ...]:
    """What `kubectl apply -k k8s/OVERLAY` would send."""
    done = subprocess.run(
        ["kubectl", "kustomize", f"k8s/{overlay}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def of_kind(overlay: str, kind: str) -> dict[str, Document]:
    return {d["metadata"]["name"]: d for d in rendered(overlay) if d["kind"] == kind}


def job_template() -> Document:
    """The Prefect work pool's base job template."""
    document = json.loads((K8S / "prefect" / "base-job-template.json").read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


@dataclass(frozen=True)
class Pod:
    """A pod template: who it belongs to, its labels, its spec."""

    owner: str
    labels: dict[str, str]
    spec: Document

    @property
    def containers(self) -> list[Document]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]


def _template(document: Document) -> Document | None:
    spec = document.get("spec", {})
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    found = spec.get("template") if isinstance(spec, dict) else None
    return found if isinstance(found, dict) and "spec" in found else None


def served_pods(overlay: str) -> list[Pod]:
    """The pods that the manifests of an overlay make."""
    return [
        Pod(d["metadata"]["name"], template["metadata"]["labels"], template["spec"])
        for d in rendered(overlay)
        if (template := _template(d)) is not None
    ]


def job_pods() -> list[Pod]:
    """The pods that are made later: a step's and a flow run's."""
    step = yaml.safe_load((K8S / "job.yaml").read_text(encoding="utf-8"))["spec"]["template"]
    flow = job_template()["job_configuration"]["job_manifest"]["spec"]["template"]
    return [
        Pod("steps", step["metadata"]["labels"], step["spec"]),
        Pod("flow runs", flow["metadata"]["labels"], flow["spec"]),
    ]


_VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
}


def restricted(spec: Document) -> Iterator[str]:
    """What of a pod Pod Security "restricted" refuses, and a root file system that can be written to, which we do."""
    for field in ("hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace"):
        if field in spec:
            yield f"sets {field}"
    for volume in spec.get("volumes", []):
        if not set(volume) - {"name"} <= _VOLUMES:
            yield f"volume {volume['name']} of a type that is not allowed"
    pod = spec.get("securityContext", {})
    if set(pod) & {"sysctls", "seLinuxOptions", "windowsOptions", "appArmorProfile"}:
        yield "sets something of the host"
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        own = container.get("securityContext", {})
        name = container["name"]
        both = {**pod, **own}
        if both.get("runAsNonRoot") is not True or both.get("runAsUser") in (None, 0) or not both.get("runAsGroup"):
            yield f"{name} may run as root"
        if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield f"{name} has no seccomp profile"
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield f"{name} may gain privileges"
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []) or capabilities.get("add"):
            yield f"{name} keeps a capability"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{name} can write to its root"
        if own.get("procMount", "Default") != "Default" or any("hostPort" in p for p in container.get("ports", [])):
            yield f"{name} reaches the host"


def secret_table() -> dict[str, tuple[set[str], set[str]]]:
    """The Secrets of k8s/README.md: name -> (keys, who reads it)."""
    text = (K8S / "README.md").read_text(encoding="utf-8").split("## Secrets", 1)[1]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    return {name: (set(re.findall(r"`(\w+)`", keys)), set(readers.split(", "))) for name, keys, readers in rows}

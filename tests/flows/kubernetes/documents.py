"""Documents as an API server gives them: recorded ones of a 1.34 server, and small ones written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows.kubernetes.cluster import Cluster
from flows.kubernetes.render import INDEX
from flows.runner import Job

Document = dict[str, Any]
RECORDED = Path(__file__).parent / "recorded"
LOG = Path("runs/x/logs/toy.log")
CLUSTER = Cluster(name="here", image="reg.example/preflow@sha256:" + "a" * 64, remote="s3://bucket/dvc")


def recorded(name: str) -> tuple[Document, list[Document]]:
    """(Job, its pods) as they were at the end."""
    found = json.loads((RECORDED / f"{name}.json").read_text())
    return found["job"], found["pods"]


def toy(**changes: Any) -> Job:
    """A step's job."""
    given: dict[str, Any] = {
        "step": "policy_optimization",
        "component": "policy_optimization",
        "section": "policy_optimization",
        "params": "dvc:" + "1" * 32,
        "inputs": {"dataset": ["dvc:" + "2" * 32 + ".dir@" + "3" * 32], "policy": ["dvc:" + "4" * 32 + ".dir"]},
        "outputs": {"policy": "dvc:", "reference_logprobs": "dvc:"},
        "identity": "0123456789abcdef0123456789abcdef",
        "threads": 2,
        "resources": {"gpu": 1, "cpu": 4, "memory": "32Gi", "minutes": 240},
    }
    return Job(**{**given, **changes})


def job(*conditions: Document, **spec: Any) -> Document:
    return {
        "metadata": {"name": "toy-0123456789ab-a1", "uid": "job", "labels": {}, "annotations": {}},
        "spec": spec,
        "status": {"conditions": list(conditions)},
    }


def true(kind: str, reason: str = "", message: str = "") -> Document:
    return {"type": kind, "status": "True", "reason": reason, "message": message}


def pod(
    phase: str, state: Document | None = None, *, index: int = 0, node: str = "n1", deleted: bool = False, **more: Any
) -> Document:
    metadata: Document = {"name": f"toy-{index}", "uid": f"pod-{index}", "annotations": {INDEX: str(index)}}
    if deleted:
        metadata["deletionTimestamp"] = "2026-11-24T00:00:00Z"
    status = {"phase": phase, **more}
    if state is not None:
        status["containerStatuses"] = [{"name": "step", "state": state}]
    container = {"name": "step", "resources": {"limits": {"memory": "32Gi"}}}
    return {"metadata": metadata, "spec": {"nodeName": node, "containers": [container]}, "status": status}


def terminated(code: int, reason: str = "Error", message: str = "") -> Document:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def event(reason: str, message: str, uid: str = "job") -> Document:
    return {"reason": reason, "message": message, "involvedObject": {"uid": uid}}

"""A real control plane on loopback for tests marked `cluster`: API server, etcd, controllers, scheduler, and a kubelet
stand-in that runs a pod's command as a local process. Built from sources once, kept in the user's cache folder.

The stand-in pulls no images: what an image would hold (Python, packages, this code) is mounted from claims.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import urllib3
import yaml

from flows.server import free_port
from tests.flows.project import REPO, make_project

SCRIPTS = Path(os.environ.get("PREFLOW_DATA_DIR", REPO / "../shared/data")).resolve().parent / "k8s"
GPUS = 4


@dataclass(frozen=True)
class Lab:
    """A running control plane."""

    state: Path
    port: int

    @property
    def env(self) -> dict[str, str]:
        return {
            **os.environ,
            "K8S_LAB": str(self.state),
            "K8S_LAB_PORT": str(self.port),
            "K8S_LAB_GPUS": str(GPUS),
            "PYTHON": sys.executable,
        }

    @property
    def kubeconfig(self) -> Path:
        return self.state / "admin.kubeconfig"

    def up(self) -> None:
        """Start what does not run."""
        done = subprocess.run(
            ["bash", str(SCRIPTS / "up.sh")], env=self.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    def down(self) -> None:
        subprocess.run(["bash", str(SCRIPTS / "down.sh"), "--wipe"], env=self.env, check=False, capture_output=True)

    def kill_api_server(self) -> None:
        """As hard as a machine that fails. `up` starts it again."""
        os.kill(int((self.state / "pid" / "apiserver").read_text()), signal.SIGKILL)

    def kubectl(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        done = subprocess.run(
            ["kubectl", *arguments],
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"kubectl {arguments}: {done.stderr}"
        return done.stdout

    @cached_property
    def _http(self) -> urllib3.PoolManager:
        pki = self.state / "pki"
        files = {"ca_certs": pki / "ca.crt", "cert_file": pki / "admin.crt", "key_file": pki / "admin.key"}
        return urllib3.PoolManager(**{name: str(path) for name, path in files.items()})

    def get(self, namespace: str, kind: str, selector: str = "") -> list[dict[str, Any]]:
        """Objects as they are now, not by way of the code under test (and faster than kubectl)."""
        group = "apis/batch/v1" if kind == "jobs" else "api/v1"
        url = f"https://127.0.0.1:{self.port}/{group}/namespaces/{namespace}/{kind}"
        found = self._http.request("GET", url, fields={"labelSelector": selector} if selector else None).json()
        return list(found["items"])

    def apply(self, *documents: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))


def start(state: Path) -> Iterator[Lab]:
    """Build it if need be (minutes, once), start it, and take it down at the end."""
    build = subprocess.run(["bash", str(SCRIPTS / "build.sh")], capture_output=True, text=True, check=False)
    assert build.returncode == 0, f"the control plane cannot be built:\n{build.stdout[-2000:]}\n{build.stderr[-2000:]}"
    lab = Lab(state, _free_ports())
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


def _free_ports() -> int:
    """The first of the twelve ports in a row that it listens on."""
    while True:
        first = free_port()
        if first < 60000 and all(free_port(first + i) == first + i for i in range(12)):
            return first


def make_namespace(lab: Lab, name: str, secrets: dict[str, str]) -> None:
    """The namespace of the base with its accounts and Role, the Secret of the store, and the claims of the image."""
    documents: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}]
    for file in ("service-accounts", "submitter-role"):
        for document in yaml.safe_load_all((REPO / "k8s" / "base" / f"{file}.yaml").read_text()):
            for subject in document.get("subjects", []):
                subject["namespace"] = name
            document["metadata"]["namespace"] = name
            documents.append(document)
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": secrets}
    documents.append({**secret, "metadata": {"name": "preflow-store", "namespace": name}})
    for volume, folder in image().items():
        documents += claim(name, volume, folder)
    lab.apply(*documents)
    eventually(lambda: {c["status"].get("phase") for c in lab.get(name, "persistentvolumeclaims")} == {"Bound"})


def image() -> dict[str, Path]:
    """What an image of preflow holds, by the name of the claim that mounts it."""
    return {"python": Path(sys.base_prefix), "packages": Path(sysconfig.get_paths()["purelib"]), "code": REPO}


def claim(namespace: str, name: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    size, modes = {"storage": "1Gi"}, ["ReadOnlyMany"]
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{name}"},
        "spec": {"capacity": size, "accessModes": modes, "storageClassName": "lab", "hostPath": {"path": str(folder)},
                 "claimRef": {"namespace": namespace, "name": name}},
    }  # fmt: skip
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": modes, "storageClassName": "lab", "volumeName": f"{namespace}-{name}",
                 "resources": {"requests": size}},
    }  # fmt: skip
    return volume, claim


def profile(namespace: str, remote: str, env: dict[str, str]) -> dict[str, Any]:
    """A profile of this cluster: small requests, the image from claims, little patience."""
    return {
        "summary": "The control plane of the tests.",
        "image": "example.invalid/preflow:lab",
        "image_by_tag": True,
        "namespace": namespace,
        "remote": remote,
        "env": {
            # the first is the pod's own; the stand-in looks a command up on this machine before it starts it there
            "PATH": f"/opt/python/bin:{Path(sys.executable).parent}:/usr/bin:/bin",
            "LD_LIBRARY_PATH": "/opt/python/lib",  # before a Python of the same name that the machine may have
            "PYTHONPATH": "/opt/code:/opt/packages",
            "PYTHONDONTWRITEBYTECODE": "1",
            **env,
        },
        "secrets": ["preflow-store"],
        "storage": {
            "work": "10Gi",
            "shm": "64Mi",
            "volumes": [{"claim": name, "path": f"/opt/{name}", "read_only": True} for name in image()],
        },
        "patience": {"unschedulable_minutes": 0.1, "pull_minutes": 0.05, "config_minutes": 0.1, "lost_pods": 3},
    }


def make_cluster_project(folder: Path, made: dict[str, Any]) -> Path:
    """The small project of the flow tests with this cluster's profile as `lab`, and its bucket as the DVC remote."""
    project = make_project(folder)
    (project / "k8s" / "profiles").mkdir(parents=True)
    shutil.copy(REPO / "k8s" / "job.yaml", project / "k8s" / "job.yaml")
    write_profile(project, made)
    config = f"[core]\n    analytics = false\n    remote = store\n['remote \"store\"']\n    url = {made['remote']}\n"
    (project / ".dvc" / "config").write_text(config)
    return project


def write_profile(project: Path, made: dict[str, Any], name: str = "lab") -> None:
    (project / "k8s" / "profiles" / f"{name}.yaml").write_text(yaml.safe_dump(made, sort_keys=False))


def eventually(what: Callable[[], Any], seconds: float = 60.0, every: float = 0.2) -> Any:
    """The first true answer. Fails after `seconds`."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := what():
            return found
        time.sleep(every)
    raise AssertionError(f"not true within {seconds:.0f} s")

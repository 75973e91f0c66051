"""The control plane, the object store and the registry that the tests marked `cluster` share."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import mlflow_server
from tests.components.s3 import S3, serve
from tests.flows.kubernetes import lab as labs
from tests.flows.kubernetes.lab import Lab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if not (labs.SCRIPTS / "up.sh").is_file():
        pytest.skip(f"no control plane for tests beside the data folder ({labs.SCRIPTS})")
    if os.geteuid() != 0 or shutil.which("kubectl") is None:
        pytest.skip("the control plane for tests needs root and kubectl")
    yield from labs.start(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="session")
def store() -> Iterator[S3]:
    """A real S3 server."""
    with serve() as running:
        yield running


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server."""
    with mlflow_server.serve(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="session")
def namespace(lab: Lab, store: S3) -> str:
    """A namespace that tests share: each looks at its own step's Jobs only."""
    return _namespace(lab, store)


@pytest.fixture
def own_namespace(lab: Lab, store: S3) -> str:
    """A namespace for a test that does something to it."""
    return _namespace(lab, store)


def _namespace(lab: Lab, store: S3) -> str:
    name = f"t-{uuid.uuid4().hex[:8]}"
    secret = {key: value for key, value in store.env.items() if key.endswith(("KEY", "KEY_ID"))}
    labs.make_namespace(lab, name, secret)
    return name


@pytest.fixture
def made(namespace: str, store: S3, registry: str) -> dict[str, Any]:
    """The profile of that namespace, with a bucket of its own."""
    plain = {key: value for key, value in store.env.items() if not key.endswith(("KEY", "KEY_ID"))}
    return labs.profile(namespace, f"{store.bucket()}/dvc", {**plain, "MLFLOW_TRACKING_URI": registry})


@pytest.fixture
def project(
    tmp_path: Path, lab: Lab, store: S3, registry: str, made: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project folder as the current one, in the environment of a user who may reach the cluster."""
    folder = labs.make_cluster_project(tmp_path / "project", made)
    monkeypatch.chdir(folder)
    for name, value in {**store.env, "MLFLOW_TRACKING_URI": registry, "KUBECONFIG": str(lab.kubeconfig)}.items():
        monkeypatch.setenv(name, value)
    return folder

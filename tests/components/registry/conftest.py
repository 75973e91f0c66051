"""A real MLflow store per test: the empty database is made once and copied (making one takes over a second)."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from components.artifacts import content_id
from components.registry import Registry, VersionInfo
from components.registry.connection import Connection


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Connection(f"sqlite:///{file}")
    return file


@pytest.fixture
def database(empty_database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of this test's own store; also what `Registry()` uses."""
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    monkeypatch.setenv("PREFLOW_GIT_COMMIT", "c0ffee")
    return uri


@pytest.fixture
def registry(database: str) -> Registry:
    return Registry(database)


def make_policy(folder: Path, text: str = "weights") -> Path:
    """Bytes in the shape of a policy: the registry never looks inside."""
    (folder / "extra").mkdir(parents=True)
    (folder / "model.safetensors").write_text(text)
    (folder / "extra" / "config.json").write_text("{}")
    return folder


Add = Callable[..., VersionInfo]


@pytest.fixture
def add(registry: Registry, tmp_path: Path) -> Add:
    """Register version after version: `add(gate="refused")`."""
    count = 0

    def register(gate: str = "pass", name: str = "m") -> VersionInfo:
        nonlocal count
        count += 1
        policy = make_policy(tmp_path / f"policy-{count}", f"weights {count}")
        info = registry.register(name, policy, identity=f"{count:032x}", tags={"gate.status": gate})
        assert info.content_id == content_id(policy)
        return info

    return register

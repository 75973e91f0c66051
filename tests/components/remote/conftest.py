"""The same remote as a folder and as a bucket."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from components.artifacts import Store
from components.remote import Remote, transport
from tests.components.s3 import s3, s3_url

__all__ = ["s3", "s3_url"]


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFLOW_REMOTE", raising=False)
    monkeypatch.setattr(transport, "PAUSE", 0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Remote:
    return Remote(str(tmp_path / "remote"))


@pytest.fixture(params=["folder", "s3"])
def remote(request: pytest.FixtureRequest) -> Remote:
    if request.param == "folder":
        return request.getfixturevalue("folder")
    return Remote(request.getfixturevalue("s3_url"))


Made = Callable[..., str]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def put(tmp_path: Path, store: Store) -> Made:
    """Put a folder with these files into the store; returns its content id."""

    def make(**files: bytes) -> str:
        root = tmp_path / f"made-{os.urandom(4).hex()}"
        for name, data in files.items():
            path = root / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return store.put(root)

    return make


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

"""A real S3 server (moto) on a free loopback port, for tests: `from tests.components.s3 import s3, s3_url`."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest

KEY, SECRET = "AKIATESTKEY0", "a-secret-that-nobody-may-see"


@dataclass(frozen=True)
class S3:
    """Where it listens, and what a client needs in its environment."""

    endpoint: str

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def bucket(self) -> str:
        """A new bucket; returns its URL."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        httpx.put(f"{self.endpoint}/{name}", trust_env=False).raise_for_status()
        return f"s3://{name}"


@contextmanager
def serve() -> Iterator[S3]:
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3(f"http://{host}:{port}")
    finally:
        server.stop()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3]:
    """One server for all tests of a module that imports this fixture."""
    with serve() as running:
        yield running


@pytest.fixture
def s3_url(s3: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder in a new bucket; this process and its children can reach it with credentials of the environment."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    return f"{s3.bucket()}/store"

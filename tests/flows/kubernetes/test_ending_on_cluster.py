"""However a flow ends, its Jobs end with it: cancelled at the dashboard, or its process told to go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows import guard, server
from tests.flows.kubernetes.lab import Lab, eventually
from tests.flows.project import environment, last_run

pytestmark = pytest.mark.cluster


@pytest.fixture
def long(project: Path) -> Path:
    """A project whose base model trains for minutes; another one each time, so that nothing is cached."""
    params = yaml.safe_load((project / "params.yaml").read_text())
    params["base_model"]["optimization"] |= {"max_steps": 200_000, "checkpoint_every": 500}
    params["base_model"]["seed"] = time.time_ns() % 1_000_000
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return project


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A Prefect server of its own, as `preflow ui` or a team has one."""
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "server"))
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "server" / "prefect"))
    port = server.free_port()
    process = server.start(port)
    url = f"http://127.0.0.1:{port}/api"
    server.wait_until_healthy(process, url)
    yield url
    process.terminate()
    process.wait(30)


def _start(project: Path, **env: str) -> subprocess.Popen[bytes]:
    own = {**environment(project), "MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"], **env}
    argv = [sys.executable, "-m", "flows.cli", "run", "align", "--runner", "kubernetes", "--cluster", "lab"]
    with (project / "driver.log").open("ab") as log:
        return subprocess.Popen(argv, cwd=project, env=own, stdout=log, stderr=log)


def _trains(project: Path) -> bool:
    return "base model:" in (project / "driver.log").read_text()


def _jobs(lab: Lab, namespace: str) -> list[dict[str, Any]]:
    """Jobs and pods of the training, whatever their state."""
    label = "preflow.dev/step=base_model"
    return [item for kind in ("jobs", "pods") for item in lab.get(namespace, kind, label)]


def test_cancelled_at_the_dashboard(long: Path, lab: Lab, namespace: str, api: str) -> None:
    """Nobody tells the process: it asks, deletes its Job, and says that it is cancelled."""
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.states import Cancelling

    auth = guard.auth_string()
    driver = _start(long, PREFECT_API_URL=api, PREFECT_API_AUTH_STRING=auth)
    try:
        eventually(lambda: _trains(long), 120)
        with SyncPrefectClient(api, auth_string=auth) as client:
            (run,) = client.read_flow_runs()
            client.set_flow_run_state(run.id, Cancelling(), force=True)
            code = driver.wait(90)
            state = client.read_flow_run(run.id).state
    finally:
        driver.kill()
    log = (long / "driver.log").read_text()
    assert code == 2, log[-3000:]
    assert state is not None
    assert state.type == "CANCELLED", state
    assert last_run(long)["status"] == "cancelled"
    eventually(lambda: not _jobs(lab, namespace), 150)


def test_told_to_go(long: Path, lab: Lab, namespace: str) -> None:
    """SIGTERM, as a worker or a node sends it: the Job goes, its checkpoint stays for the next run."""
    driver = _start(long)
    try:
        eventually(lambda: _trains(long), 120)
        driver.send_signal(signal.SIGTERM)
        assert driver.wait(90) != 0
    finally:
        driver.kill()
    assert "deleted Job base-model-" in (long / "driver.log").read_text()
    eventually(lambda: not _jobs(lab, namespace), 150)
    assert last_run(long)["status"] == "interrupted", json.dumps(last_run(long))[:2000]

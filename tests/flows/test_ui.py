"""`preflow ui` serves both dashboards and leaves nothing behind, however it ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest


@pytest.fixture
def ui(tmp_path: Path):
    """A running `preflow ui` with the two addresses it printed."""
    drop = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_HOME", "MLFLOW_TRACKING_URI")
    env = {key: value for key, value in os.environ.items() if key not in drop}
    env |= {"PREFLOW_HOME": str(tmp_path / "home"), "COLUMNS": "160"}
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "ui", "--port", "0", "--mlflow-port", "0"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    addresses = dict(process.stdout.readline().split() for _ in range(2))
    addresses["file"] = process.stdout.readline().rsplit(maxsplit=1)[-1]
    children = psutil.Process(process.pid).children(recursive=True)
    yield process, addresses, children
    for child in children:
        if child.is_running():
            child.kill()
    process.kill()
    process.wait()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_both_answer_and_both_are_gone_afterwards(ui, signum: int) -> None:
    process, addresses, children = ui
    assert httpx.get(addresses["Prefect"] + "/api/health").status_code == 200
    assert "Prefect" in httpx.get(addresses["Prefect"], follow_redirects=True).text
    name, secret = Path(addresses["file"]).read_text().strip().split(":")  # as it says where to look
    assert "MLflow" in httpx.get(addresses["MLflow"], auth=(name, secret)).text
    assert httpx.get(addresses["Prefect"] + "/api/admin/version", auth=(name, secret)).status_code == 200
    process.send_signal(signum)
    process.wait(40)
    deadline = time.monotonic() + 20
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline, [child.cmdline() for child in children if child.is_running()]
        time.sleep(0.2)

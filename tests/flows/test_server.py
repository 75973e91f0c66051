"""The embedded server ends with its driver, and runs of dead drivers are reconciled at the next start."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.server import driver_tag, free_port

DRIVER = """
import os, sys, time
from flows.server import prefect_api, driver_tag
with prefect_api() as url:
    from prefect import flow, tags, task
    @task
    def stuck():
        open(sys.argv[1], "w").write(url)
        time.sleep(600)
    @flow(name="stuck")
    def run():
        stuck()
    with tags(driver_tag()):
        run()
"""
NEXT = """
from flows.server import prefect_api
with prefect_api():
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs():
            print("flow", run.name, run.state.name, run.state.message)
        for run in client.read_task_runs():
            print("task", run.name, run.state.name)
"""


def test_a_free_port_is_really_free_and_the_preferred_one_if_it_can_be() -> None:
    import socket

    port = free_port()
    assert free_port(port) == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert free_port(port) != port


def test_the_driver_tag_names_this_process() -> None:
    _, pid, started = driver_tag().rsplit(":", 2)
    assert int(pid) == os.getpid()
    assert abs(float(started) - psutil.Process().create_time()) < 1


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    drop = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_HOME")
    env = {key: value for key, value in os.environ.items() if key not in drop}
    return {**env, "PREFLOW_HOME": str(tmp_path / "home")}


def test_a_driver_killed_hard_leaves_no_server_and_no_run_that_runs_forever(
    home: dict[str, str], tmp_path: Path
) -> None:
    """kill -9 of the driver: its server is gone within seconds; the next start says Crashed instead of Running."""
    ready = tmp_path / "ready"
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(ready)], env=home, cwd=tmp_path)
    _wait(lambda: ready.exists() and ready.read_text() != "", "the driver to reach its task", 120)
    servers = psutil.Process(driver.pid).children(recursive=True)
    assert servers, "the embedded server is a child of the driver"
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    _wait(lambda: not any(_lives(server) for server in servers), "the server to end", 20)
    out = subprocess.run(
        [sys.executable, "-c", NEXT], env=home, cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    flows = [line for line in out.splitlines() if line.startswith("flow")]
    tasks = [line for line in out.splitlines() if line.startswith("task")]
    assert len(flows) == 1
    assert "Crashed" in flows[0]
    assert "is gone" in flows[0]
    assert tasks
    assert all("Crashed" in line for line in tasks)


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _wait(condition, what: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)

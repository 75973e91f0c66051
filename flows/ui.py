"""`preflow ui`: Prefect's dashboard and MLflow's, on the embedded stores, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType

from components.contract.run import home
from components.errors import PreflowError
from flows import env
from flows.server import free_port, healthy, known_server, reconcile, remember_ui, start, wait_until_healthy


def serve_ui(prefect_port: int, mlflow_port: int, say: Callable[[str], None]) -> None:
    """Start both, print the two addresses, wait. Both end with this process."""
    env.prepare()
    if known_server():
        raise PreflowError(f"ui: it is running already (see {home() / 'ui.json'}). Use that one, or stop it first.")
    prefect_port, mlflow_port = free_port(prefect_port), free_port(mlflow_port)
    api = f"http://127.0.0.1:{prefect_port}/api"
    mlflow_url = f"http://127.0.0.1:{mlflow_port}"
    os.environ["PREFECT_API_URL"] = api
    prefect_server = start(prefect_port, ui=True)
    mlflow_server = _start_mlflow(mlflow_port)
    note = None
    try:
        wait_until_healthy(prefect_server, api)
        _wait_for_mlflow(mlflow_server, mlflow_url)
        ended = reconcile()
        note = remember_ui(api, mlflow_url)
        say(f"Prefect  http://127.0.0.1:{prefect_port}")
        say(f"MLflow   {mlflow_url}")
        if ended:
            say(f"marked as crashed (their process is gone): {', '.join(ended)}")
        say("Ctrl-C ends both. Runs started meanwhile with `preflow run` appear here.")
        _wait(prefect_server, mlflow_server)
    finally:
        if note is not None:
            note.unlink(missing_ok=True)
        for process in (prefect_server, mlflow_server):
            _stop(process)


def _start_mlflow(port: int) -> subprocess.Popen[bytes]:
    """MLflow's server on the embedded store, in a process group of its own (it starts workers)."""
    log = (home() / "mlflow.log").open("ab")
    uri = os.environ["MLFLOW_TRACKING_URI"]
    options = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--backend-store-uri", uri]
    options += ["--artifacts-destination", str(home() / "mlartifacts")]
    code = (
        "import sys; from flows.server import end_with; end_with(int(sys.argv.pop(1))); import mlflow.cli as m; m.cli()"
    )
    argv = [sys.executable, "-c", code, str(os.getpid()), *options]
    return subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)


def _wait_for_mlflow(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if healthy(url):  # MLflow answers /health like Prefect does
            return
        time.sleep(0.2)
    raise PreflowError(f"ui: MLflow did not start (exit {process.returncode}). See {home() / 'mlflow.log'}.")


def _wait(*processes: subprocess.Popen[bytes]) -> None:
    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)  # a shell that starts us in the background has it ignored
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
    except KeyboardInterrupt:
        return
    raise PreflowError(
        f"ui: a server ended by itself. See {home() / 'prefect' / 'server.log'} and mlflow.log beside it."
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)

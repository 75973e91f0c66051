"""`preflow ui`: Prefect's dashboard and MLflow's, on the embedded stores, until Ctrl-C.

`python -m flows.ui --port N --parent PID` serves MLflow's until the process PID is gone.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from types import FrameType

from components.contract.run import home
from components.errors import PreflowError
from flows import env, guard
from flows.guard import USER, auth_file, auth_string, hosts, origins
from flows.server import (
    end_with,
    free_port,
    healthy,
    known_server,
    reconcile,
    remember_ui,
    sign_in,
    start,
    wait_until_healthy,
)


def serve_ui(prefect_port: int, mlflow_port: int, say: Callable[[str], None]) -> None:
    """Start both, print the two addresses, wait. Both end with this process."""
    env.prepare()
    if known_server():
        raise PreflowError(f"ui: it is running already (see {home() / 'ui.json'}). Use that one, or stop it first.")
    prefect_port, mlflow_port = free_port(prefect_port), free_port(mlflow_port)
    api = f"http://127.0.0.1:{prefect_port}/api"
    mlflow_url = f"http://127.0.0.1:{mlflow_port}"
    sign_in(api)
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
        say(f"Both ask for what is in {auth_file()}")
        say(f"Prefect wants the whole line; MLflow the name {USER}, and the rest as password.")
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
    """MLflow's server on the embedded store, in a session of its own."""
    log = (home() / "mlflow.log").open("ab")
    argv = [sys.executable, "-m", "flows.ui", "--port", str(port), "--parent", str(os.getpid())]
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


def serve_mlflow(port: int, parent: int) -> None:
    """Run MLflow's server in this process, for requests that come from here and know the project's text.

    Not by `mlflow server`, whose own checks let every page of this machine in, any port and every private address as
    Host, and which offers no place for ours. It also starts a queue of jobs, which nothing here uses.
    """
    end_with(parent)
    env.prepare()
    store = os.environ["MLFLOW_TRACKING_URI"]
    # what `mlflow server` sets for its processes; uvicorn first, by which MLflow knows that it is a server
    os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(hosts(port))
    os.environ["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(origins(port))
    os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"
    os.environ["_MLFLOW_SERVER_BOOT_ID"] = uuid.uuid4().hex
    os.environ["_MLFLOW_IN_JOB_EXECUTOR"] = "false"
    import uvicorn  # noqa: F401
    from mlflow.server import constants, handlers

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = store
    os.environ[constants.REGISTRY_STORE_URI_ENV_VAR] = store
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = "mlflow-artifacts:/"
    os.environ[constants.SERVE_ARTIFACTS_ENV_VAR] = "true"
    os.environ[constants.ARTIFACTS_DESTINATION_ENV_VAR] = str(home() / "mlartifacts")
    handlers.initialize_backend_stores(store, store, "mlflow-artifacts:/")
    from mlflow.server.fastapi_app import app

    guard.serve(app, port, auth_string())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    options = parser.parse_args()
    serve_mlflow(options.port, options.parent)

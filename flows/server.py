"""The embedded Prefect server: started when no other is configured, ended with its driver, reconciled at next start.

`python -m flows.server --port N --parent PID` serves until the process PID is gone, so that a driver killed hard leaves
no server behind.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from components.artifacts import write_text
from components.contract.run import home
from components.errors import PreflowError, UserError
from flows import env, guard
from flows.guard import auth_file, auth_string, origins

DRIVER_TAG = "driver:"
START_SECONDS = 120.0


def free_port(preferred: int = 0) -> int:
    """`preferred` if nothing listens there, else any free port on loopback."""
    for port in (preferred, 0):
        with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise PreflowError("server: no free port on 127.0.0.1. Close a program that listens there.")


def healthy(url: str, timeout: float = 1.0) -> bool:
    """The Prefect API at `url` answers."""
    import httpx

    try:
        # no certificates are loaded for loopback HTTP: that would cost more than the request
        return httpx.get(f"{url}/health", timeout=timeout, verify=not url.startswith("http://")).status_code == 200
    except httpx.HTTPError:
        return False


def known_server() -> str | None:
    """The API of a server that `preflow ui` has running on this project, if it is alive."""
    note = home() / "ui.json"
    if not note.is_file():
        return None
    facts = json.loads(note.read_text(encoding="utf-8"))
    return facts["prefect_api"] if _alive(facts["pid"], facts["started"]) and healthy(facts["prefect_api"]) else None


def _started(pid: int) -> float:
    """When a process started (a pid alone may have been given to another program since); 0 if it is gone."""
    import psutil

    try:
        return round(float(psutil.Process(pid).create_time()), 1)
    except psutil.NoSuchProcess:
        return 0.0


def _alive(pid: int, started: float) -> bool:
    return abs(_started(pid) - started) < 2.0


def alive(pid: int) -> bool:
    """A process with this pid exists."""
    return _started(pid) > 0


def start(port: int, *, ui: bool = False) -> subprocess.Popen[bytes]:
    """Start a server process on loopback; it ends when this process does."""
    (home() / "prefect").mkdir(parents=True, exist_ok=True)
    log = (home() / "prefect" / "server.log").open("ab")
    argv = [sys.executable, "-m", "flows.server", "--port", str(port), "--parent", str(os.getpid())]
    return subprocess.Popen([*argv, "--ui"] if ui else argv, stdout=log, stderr=log, start_new_session=True)


def wait_until_healthy(process: subprocess.Popen[bytes], url: str) -> None:
    """Block until the API answers. Raises PreflowError if the process ends or two minutes pass."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        if healthy(url):
            return
        time.sleep(0.1)
    log = home() / "prefect" / "server.log"
    process.kill()
    raise PreflowError(f"server: the embedded Prefect server did not start (exit {process.returncode}). See {log}.")


def configured_api() -> str | None:
    """The API that is there already: $PREFECT_API_URL, else the server of `preflow ui`; None if neither is.

    To a server that we started the project's text is handed; another one gets what $PREFECT_API_AUTH_STRING holds.
    """
    given, ours = os.environ.get("PREFECT_API_URL", ""), known_server()
    if ours and given.rstrip("/").replace("//localhost:", "//127.0.0.1:") in ("", ours):
        sign_in(ours)
        return ours
    return given or None


def sign_in(url: str) -> None:
    """Have Prefect's clients in this process and its children use `url`, a server that we started."""
    os.environ["PREFECT_API_URL"], os.environ["PREFECT_API_AUTH_STRING"] = url, auth_string()


@contextmanager
def prefect_api() -> Iterator[str]:
    """An API to run flows against: one that is there already, else one of our own for as long as it is needed."""
    env.prepare()
    url = configured_api()
    if url:
        reconcile()
        yield url
        return
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    sign_in(url)
    process = start(port)
    try:
        import prefect  # noqa: F401  (takes as long as the server: import it while the server starts)

        wait_until_healthy(process, url)
        reconcile()
        yield url
    finally:
        if process.poll() is None:
            _drain()
        for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING"):
            os.environ.pop(name, None)
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()


def _drain() -> None:
    """Let the last events and log lines reach the server before it is stopped."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=10)
    APILogWorker.drain_all(timeout=10)


def driver_tag() -> str:
    """What marks the runs of this process: host, pid and start time."""
    return f"{DRIVER_TAG}{platform.node()}:{os.getpid()}:{_started(os.getpid())}"


def reconcile() -> list[str]:
    """Mark runs whose driver on this host is dead as Crashed; returns their names."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.states import Crashed

    unfinished = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.PENDING]))
    )
    ended = []
    with get_client(sync_client=True) as client:
        for run in _readable(client).read_flow_runs(flow_run_filter=unfinished, limit=200):
            if driver_is_dead(run.tags):
                message = (
                    "The process that drove this run is gone (killed or crashed). Rerun it: finished steps are kept."
                )
                client.set_flow_run_state(run.id, Crashed(message=message), force=True)
                _crash_tasks(client, run.id, message)
                ended.append(run.name)
    return ended


def _readable(client: Any) -> Any:
    """The client, if the server takes its credentials. Raises UserError if it does not."""
    from prefect.exceptions import PrefectHTTPStatusError

    try:
        client.api_version()
    except PrefectHTTPStatusError as error:
        if error.response.status_code in (401, 403):
            raise UserError(
                f"server: {client.api_url} refuses the credentials (HTTP {error.response.status_code}). Set "
                f"PREFECT_API_AUTH_STRING; for a server of this project it is the text in {auth_file()}."
            ) from error
        raise
    return client


def _crash_tasks(client: Any, run_id: Any, message: str) -> None:
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
    from prefect.states import Crashed

    for task in client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])), limit=200):
        if task.state is None or not task.state.is_final():
            client.set_task_run_state(task.id, Crashed(message=message), force=True)


def driver_is_dead(tags: list[str]) -> bool:
    """One of the tags marks a process of this host that is gone."""
    for tag in tags:
        if tag.startswith(DRIVER_TAG):
            host, pid, started = tag.removeprefix(DRIVER_TAG).rsplit(":", 2)
            return host == platform.node() and not _alive(int(pid), float(started))
    return False


def remember_ui(prefect_api_url: str, mlflow_url: str) -> Path:
    """Note where the two UIs are, for other commands of this project."""
    facts = {
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "prefect_api": prefect_api_url,
        "prefect": prefect_api_url.removesuffix("/api"),
        "mlflow": mlflow_url,
    }
    note = home() / "ui.json"
    write_text(note, json.dumps(facts) + "\n")
    return note


def end_with(parent: int) -> None:
    """End this process, and those it started in its own session, as soon as `parent` is gone."""
    started = _started(parent)

    def watch() -> None:
        while _alive(parent, started):
            time.sleep(0.5)
        if os.getpgrp() == os.getpid():
            os.killpg(os.getpgrp(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def serve(port: int, parent: int, ui: bool) -> None:
    """Run the server in this process, for requests that come from here and know the project's text (flows/guard.py)."""
    end_with(parent)
    sign_in(f"http://127.0.0.1:{port}/api")
    os.environ["PREFECT_SERVER_UI_ENABLED"] = "true" if ui else "false"
    os.environ["PREFECT_SERVER_UI_API_URL"] = os.environ["PREFECT_API_URL"]
    os.environ["PREFECT_SERVER_API_AUTH_STRING"] = os.environ["PREFECT_API_AUTH_STRING"]
    os.environ["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"] = ",".join(origins(port))
    env.prepare()
    from prefect.server.api.server import create_app

    guard.serve(create_app(), port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--ui", action="store_true")
    options = parser.parse_args()
    serve(options.port, options.parent, options.ui)

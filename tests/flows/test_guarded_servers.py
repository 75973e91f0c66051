"""The attacker's part, against the real servers; and that what is ours still gets in: clients, a worker, the pages."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from flows import env, guard, server, ui
from tests.house.tree import ROOT

EVIL = "https://evil.example"
FOREIGN = {"Origin": EVIL}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Server:
    """A running server of ours: its address, the folder of its project, the text that opens it, what writes to it."""

    port: int
    home: Path
    write: str
    read: str
    auth: str = field(repr=False)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, *, signed_in: bool = True) -> Any:
        """As a browser that has the credentials would send it: headers as given, credentials added."""
        named = {name: value.format(port=self.port) for name, value in (headers or {}).items()}
        body = b'{"name": "attack"}' if method == "POST" else None
        with httpx.Client(auth=tuple(self.auth.split(":")) if signed_in else None, timeout=30) as client:  # type: ignore[arg-type]
            return client.request(method, self.address + path, headers=named, content=body)


@pytest.fixture(scope="module")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a project whose text this process's own clients do not have."""
    return tmp_path_factory.mktemp("guarded")


@contextmanager
def in_project(folder: Path) -> Iterator[None]:
    """What is started within is of this project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFLOW_HOME", str(folder))
        patch.setenv("PREFECT_HOME", str(folder / "prefect"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        env.prepare()
        yield


def text_of(folder: Path) -> str:
    return (folder / "auth").read_text(encoding="ascii").strip()


@pytest.fixture(scope="module")
def prefect(own_home: Path) -> Iterator[Server]:
    port = server.free_port()
    with in_project(own_home):
        process = server.start(port, ui=True)
        server.wait_until_healthy(process, f"http://127.0.0.1:{port}/api")
    yield Server(port, own_home, "/api/flows/", "/api/admin/version", text_of(own_home))
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def mlflow(own_home: Path) -> Iterator[Server]:
    port = server.free_port()
    with in_project(own_home):
        process = ui._start_mlflow(port)
        ui._wait_for_mlflow(process, f"http://127.0.0.1:{port}")
    read = "/ajax-api/3.0/mlflow/assistant/config"
    yield Server(port, own_home, "/api/2.0/mlflow/experiments/create", read, text_of(own_home))
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)


@pytest.fixture(params=["prefect", "mlflow"])
def either(request: pytest.FixtureRequest) -> Server:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


ATTACKS: dict[str, tuple[str, dict[str, str]]] = {
    "POST of another site": ("POST", FOREIGN | JSON),
    "its preflight": ("OPTIONS", FOREIGN | {"Access-Control-Request-Method": "POST"}),
    "a form of another site": ("POST", FOREIGN | {"Content-Type": "application/x-www-form-urlencoded"}),
    "a text that needs no preflight": ("POST", FOREIGN | {"Content-Type": "text/plain"}),
    "a form in a sandboxed frame": ("POST", {"Origin": "null", "Content-Type": "text/plain"}),
    "a page of another port here": ("POST", {"Origin": "http://localhost:3000"} | JSON),
    "a page of our name and port by https": ("POST", {"Origin": "https://127.0.0.1:{port}"} | JSON),
    "a name that begins like ours": ("POST", {"Origin": "http://127.0.0.1:{port}.evil.example"} | JSON),
    "DNS rebinding": ("POST", {"Host": "evil.example:{port}", "Origin": "http://evil.example:{port}"} | JSON),
    "DNS rebinding, no Origin": ("POST", {"Host": "evil.example:{port}"} | JSON),
    "DNS rebinding to a name that begins like ours": ("POST", {"Host": "127.0.0.1.evil.example:{port}"} | JSON),
    "a private address as name": ("POST", {"Host": "192.168.0.1:{port}"} | JSON),
    "our name with another port": ("POST", {"Host": "127.0.0.1:80"} | JSON),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("signed_in", [True, False], ids=["with the credentials", "without"])
def test_no_foreign_page_writes(either: Server, attack: str, signed_in: bool) -> None:
    method, headers = ATTACKS[attack]
    answer = either.ask(method, either.write, headers, signed_in=signed_in)
    assert answer.status_code in (403, 421), answer.text
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example:{port}"},
        FOREIGN,
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
    ids=["DNS rebinding", "fetch", "image", "frame"],
)
def test_no_foreign_page_reads(either: Server, headers: dict[str, str]) -> None:
    assert either.ask("GET", either.read, headers).status_code in (403, 421)
    assert either.ask("GET", either.read).status_code == 200


def test_without_the_credentials_nothing_is_read_or_written(either: Server) -> None:
    """As another user of the machine would ask: from here, by the right name."""
    for method, path in (("GET", either.read), ("POST", either.write)):
        assert either.ask(method, path, JSON, signed_in=False).status_code == 401
    wrong = httpx.get(either.address + either.read, auth=(guard.USER, "guessed"))
    assert wrong.status_code == 401
    assert either.auth.partition(":")[2] not in wrong.text


def test_nothing_of_all_that_was_written(prefect: Server, mlflow: Server) -> None:
    """After every attack above; and the same request from here, signed in, is one that would have written."""
    for method, headers in ATTACKS.values():
        for target in (prefect, mlflow):
            target.ask(method, target.write, headers)
    flows = prefect.ask("POST", "/api/flows/filter", JSON).json()
    assert "attack" not in [flow["name"] for flow in flows]
    found = mlflow.ask("GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=attack")
    assert found.status_code == 404
    assert prefect.ask("POST", prefect.write, JSON).status_code == 201
    assert mlflow.ask("POST", mlflow.write, JSON).status_code == 200


def _websocket(target: Server, message: dict[str, str], **options: Any) -> str:
    """What the events socket answers to a first message; the kind of refusal if it refuses."""
    url = f"ws://127.0.0.1:{target.port}/api/events/in"
    try:
        with connect(url, **{"subprotocols": [Subprotocol("prefect")], **options}) as socket:
            socket.send(json.dumps(message))
            return str(json.loads(socket.recv(timeout=20))["type"])
    except InvalidStatus as refused:
        return f"HTTP {refused.response.status_code}"
    except ConnectionClosed as closed:
        return f"closed {closed.rcvd.code if closed.rcvd else ''}"


def test_no_websocket_but_ours(prefect: Server) -> None:
    signed = {"type": "auth", "token": prefect.auth}
    assert _websocket(prefect, signed) == "auth_success"
    assert _websocket(prefect, signed, origin=Origin(prefect.address)) == "auth_success"
    assert _websocket(prefect, signed, origin=Origin(EVIL)) == "HTTP 403"
    assert _websocket(prefect, signed, origin=Origin("null")) == "HTTP 403"
    assert _websocket(prefect, {"type": "auth"}) == "closed 1008"
    assert _websocket(prefect, {"type": "auth", "token": "preflow:guessed"}) == "closed 1008"
    assert _websocket(prefect, signed, subprotocols=None) == "HTTP 403"


def test_no_websocket_by_another_name(prefect: Server) -> None:
    """DNS rebinding: the handshake says the attacker's name as Host (by hand, a library would send a second one)."""
    import socket

    lines = ["GET /api/events/in HTTP/1.1", f"Host: evil.example:{prefect.port}", "Connection: Upgrade"]
    lines += ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: prefect"]
    lines += [f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}", "", ""]
    with socket.create_connection(("127.0.0.1", prefect.port), timeout=20) as raw:
        raw.sendall("\r\n".join(lines).encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 403")


def test_the_pages_still_work(prefect: Server, mlflow: Server) -> None:
    """Prefect's asks for the text and sends it as the page does; the page by its other name may ask across the two."""
    page = httpx.get(prefect.address, headers={"Accept": "text/html"}, follow_redirects=True)
    assert (page.status_code, "Prefect" in page.text) == (200, True)
    assert page.headers["x-frame-options"] == "SAMEORIGIN"
    settings = httpx.get(f"{prefect.address}/ui-settings").json()
    assert (settings["auth"], settings["api_url"]) == ("BASIC", f"{prefect.address}/api")
    assert prefect.ask("GET", "/api/admin/version", {"Origin": prefect.address}).status_code == 200
    localhost = f"http://localhost:{prefect.port}"
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    preflight = prefect.ask("OPTIONS", "/api/flows/filter", {"Origin": localhost, **asked}, signed_in=False)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (200, localhost)

    first = httpx.get(mlflow.address)
    assert (first.status_code, first.headers["www-authenticate"]) == (401, 'Basic realm="preflow"')
    page = mlflow.ask("GET", "/")
    assert (page.status_code, "MLflow" in page.text) == (200, True)
    assert page.headers.get_list("x-frame-options") == ["SAMEORIGIN"]
    search = mlflow.ask("GET", "/ajax-api/2.0/mlflow/experiments/search?max_results=5", {"Origin": mlflow.address})
    assert search.status_code == 200


def test_a_link_from_elsewhere_opens_the_page(either: Server) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert either.ask("GET", "/", link).status_code in (200, 307)


def test_mlflows_own_client_signs_in(mlflow: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=mlflow.address)
    with pytest.raises(MlflowException, match="401"):
        client.search_experiments()
    name, _, secret = mlflow.auth.partition(":")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret)
    assert "Default" in [experiment.name for experiment in client.search_experiments()]


CLIENT = """
import os, sys
from flows.server import prefect_api, remember_ui, configured_api
remember_ui(sys.argv[1], "http://127.0.0.1:1")  # as `preflow ui` does
with prefect_api() as url:
    assert url == sys.argv[1], url
    from prefect import flow, task
    @task
    def half(n): return n // 2
    @flow(name="ours")
    def run(): return half(84)
    assert run() == 42
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        print(client.read_flow_runs()[0].state.name)
    from pathlib import Path
    from flows.inbox import announce
    announce(Path("inbox"))
"""


@pytest.mark.parametrize("given", ["", "http://localhost:{port}/api/"], ids=["by the note", "by the variable"])
def test_our_own_commands_sign_in_by_themselves(prefect: Server, tmp_path: Path, given: str) -> None:
    """What `preflow run` and `preflow add-feedback` do, with the server of `preflow ui`: runs, tasks, events arrive."""
    variables = {"PREFECT_API_URL": given.format(port=prefect.port)} if given else {}
    done = _python(prefect, tmp_path, variables, "-c", CLIENT, f"{prefect.address}/api")
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["Completed"]
    deadline = time.monotonic() + 30
    while "preflow.feedback.added" not in (events := _events(prefect)):
        assert time.monotonic() < deadline, events
        time.sleep(0.2)


def _events(target: Server) -> list[str]:
    return [event["event"] for event in target.ask("POST", "/api/events/filter", JSON).json()["events"]]


def _python(target: Server, cwd: Path, variables: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    """A process of the server's project, as a shell in its folder starts it."""
    drop = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING")
    shell = {name: value for name, value in os.environ.items() if name not in drop}
    shell |= {"PREFLOW_HOME": str(target.home), "PREFECT_HOME": str(target.home / "prefect"), **variables}
    return subprocess.run(
        [sys.executable, *argv], cwd=cwd, env=shell, capture_output=True, text=True, check=False, timeout=170
    )


def test_a_server_that_refuses_the_credentials_is_named_with_the_remedy(prefect: Server, tmp_path: Path) -> None:
    """A project's text is not sent to the server of another one."""
    variables = {"PREFECT_API_URL": f"{prefect.address}/api", "PREFLOW_HOME": str(tmp_path / "other")}
    code = "import sys; sys.argv = ['preflow', 'run', 'align', '--profile', 'tiny']; from flows.cli import main; main()"
    done = _python(prefect, ROOT, variables, "-c", code)
    assert done.returncode == 2, done.stderr[-3000:]
    assert "refuses the credentials (HTTP 401). Set PREFECT_API_AUTH_STRING" in " ".join(done.stderr.split())


PROBE = """
from pathlib import Path
from prefect import flow
@flow
def probe():
    Path(__file__).with_name("ran").write_text("by the worker")
"""


def test_the_worker_of_the_readme_runs_our_flow_and_no_command_of_a_job_variable(
    prefect: Server, tmp_path: Path
) -> None:
    """The pool is made as the README says; the API refuses job variables for it; a worker runs what is scheduled."""
    (tmp_path / "probe_flow.py").write_text(PROBE)
    variables = {"PREFECT_API_URL": f"{prefect.address}/api", "PREFECT_API_AUTH_STRING": prefect.auth}
    variables |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    template = str(ROOT / "infra" / "process-pool.json")
    pool = ["-m", "prefect", "work-pool", "create", "preflow", "--type", "process", "--base-job-template", template]
    made = _python(prefect, tmp_path, variables, *pool)
    assert made.returncode == 0, made.stderr
    runs = {name: _schedule(prefect, name, variables) for name in ("clean", "command", "env")}
    assert runs == {"clean": 201, "command": 422, "env": 422}
    worker = ["-m", "prefect", "worker", "start", "--pool", "preflow", "--run-once", "--install-policy", "never"]
    ended = _python(prefect, tmp_path, variables, *worker)
    assert (tmp_path / "ran").read_text() == "by the worker", ended.stdout + ended.stderr
    assert not (tmp_path / "hacked").exists()


def _schedule(target: Server, name: str, variables: dict[str, str]) -> int:
    """Status of starting a flow run of a deployment of the probe with a job variable of this name."""
    hack = {"clean": {}, "command": {"command": "touch hacked"}, "env": {"env": {"PYTHONSTARTUP": "hacked"}}}[name]
    auth = httpx.BasicAuth(*target.auth.split(":"))
    with httpx.Client(base_url=variables["PREFECT_API_URL"], auth=auth, timeout=30) as client:
        flow = client.post("/flows/", json={"name": "probe"}).json()["id"]
        wanted = {"name": name, "flow_id": flow, "entrypoint": "probe_flow.probe", "work_pool_name": "preflow"}
        assert client.post("/deployments/", json={**wanted, "job_variables": hack}).status_code == (
            201 if name == "clean" else 422
        )
        deployment = client.post("/deployments/", json=wanted).json()["id"]
        started = client.post(f"/deployments/{deployment}/create_flow_run", json={"job_variables": hack})
        return started.status_code


def test_the_servers_listen_on_loopback_only(either: Server) -> None:
    import psutil

    listening = [c.laddr.ip for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == either.port]
    assert set(listening) == {"127.0.0.1"}

"""infra/bootstrap.py: what is missing is made, what is there stays, and a mistake is a sentence."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest

from components.errors import PreflowError, UserError
from tests.house.tree import ROOT


@pytest.fixture(scope="module")
def bootstrap() -> ModuleType:
    spec = importlib.util.spec_from_file_location("preflow_bootstrap", ROOT / "infra" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Store:
    def __init__(self, *names: str) -> None:
        self.names, self.made = list(names), list[str]()

    def list_buckets(self) -> dict[str, Any]:
        return {"Buckets": [{"Name": name} for name in self.names]}

    def create_bucket(self, Bucket: str) -> None:
        self.made.append(Bucket)


def test_only_missing_buckets_are_made(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFLOW_BUCKETS", "preflow, mlflow")
    store = Store("preflow")
    assert bootstrap.buckets(store) == "buckets: preflow, mlflow"
    assert store.made == ["mlflow"]


USERS = {"MLFLOW_TRACKING_USERNAME": "steps", "MLFLOW_TRACKING_PASSWORD": "new",
         "MLFLOW_AUTH_ADMIN_USERNAME": "admin", "MLFLOW_AUTH_ADMIN_PASSWORD": "root"}  # fmt: skip


def registry(users: dict[str, str], calls: list[tuple[str, str]]) -> httpx.Client:
    """A registry that knows these users and their passwords."""

    def answer(request: httpx.Request) -> httpx.Response:
        name, password = _credentials(request)
        if users.get(name) != password:
            return httpx.Response(401)
        if request.method == "GET":
            return httpx.Response(200 if request.url.params["username"] in users else 404)
        body = json.loads(request.content)
        calls.append((request.method, request.url.path.rsplit("/", 1)[1]))
        users[body["username"]] = body["password"]
        return httpx.Response(200)

    return httpx.Client(base_url="http://registry", transport=httpx.MockTransport(answer))


def _credentials(request: httpx.Request) -> tuple[str, str]:
    name, password = base64.b64decode(request.headers["authorization"].split()[1]).decode().split(":")
    return name, password


@pytest.mark.parametrize(
    ("users", "expected", "said"),
    [
        ({}, [("POST", "create")], "registry user: steps (new)"),
        ({"steps": "old"}, [("PATCH", "update-password")], "registry user: steps (new password)"),
        ({"steps": "new"}, [], "registry user: steps"),
    ],
)
def test_the_registrys_user_has_the_password_of_the_secret(
    bootstrap: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    users: dict[str, str],
    expected: list[tuple[str, str]],
    said: str,
) -> None:
    for name, value in USERS.items():
        monkeypatch.setenv(name, value)
    known, calls = {"admin": "root", **users}, list[tuple[str, str]]()
    assert bootstrap.registry_user(registry(known, calls)) == said
    assert calls == expected
    assert known["steps"] == "new"


def test_steps_are_never_the_registrys_administrator(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**USERS, "MLFLOW_TRACKING_USERNAME": "admin"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="Name another user"):
        bootstrap.registry_user(registry({}, []))


def test_a_refusal_of_the_registry_is_told(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in USERS.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PreflowError, match=r"refused the user 'steps' \(401\)"):
        bootstrap.registry_user(registry({"admin": "another"}, []))


class Pools:
    """The three calls of Prefect's client that are used."""

    def __init__(self, pool: Any = None) -> None:
        self.pool, self.calls = pool, list[tuple[str, Any]]()

    def __enter__(self) -> Pools:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def read_work_pool(self, name: str) -> Any:
        from prefect.exceptions import ObjectNotFound

        if self.pool is None:
            raise ObjectNotFound(http_exc=Exception("404"))
        return self.pool

    def create_work_pool(self, work_pool: Any) -> None:
        self.calls.append(("create", work_pool.model_dump(exclude_unset=True)))

    def update_work_pool(self, name: str, work_pool: Any) -> None:
        self.calls.append(("update", work_pool.model_dump(exclude_unset=True)))


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    file = ROOT / "k8s" / "prefect" / "base-job-template.json"
    monkeypatch.setenv("PREFLOW_POOL_TYPE", "kubernetes")
    monkeypatch.setenv("PREFLOW_POOL_TEMPLATE", str(file))
    found = json.loads(file.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def test_a_new_pool_gets_our_template(bootstrap: ModuleType, template: dict[str, Any]) -> None:
    pools = Pools()
    assert bootstrap.work_pool(pools) == "work pool: preflow, type kubernetes (new)"
    assert pools.calls == [("create", {"name": "preflow", "type": "kubernetes", "base_job_template": template})]


def test_a_changed_template_is_all_that_changes(bootstrap: ModuleType, template: dict[str, Any]) -> None:
    """A pool that somebody has paused stays paused, its limits stay: nothing else is sent."""
    pools = Pools(SimpleNamespace(type="kubernetes", base_job_template={"old": True}))
    bootstrap.work_pool(pools)
    assert pools.calls == [("update", {"base_job_template": template})]


def test_a_pool_as_it_should_be_is_left_alone(bootstrap: ModuleType, template: dict[str, Any]) -> None:
    pools = Pools(SimpleNamespace(type="kubernetes", base_job_template=template))
    assert bootstrap.work_pool(pools) == "work pool: preflow"
    assert pools.calls == []


def test_a_pool_of_another_type_is_not_overwritten(bootstrap: ModuleType, template: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="of type process, not kubernetes"):
        bootstrap.work_pool(Pools(SimpleNamespace(type="process", base_job_template={})))


def test_a_server_that_never_answers_is_named(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def get(*_: object, **__: object) -> httpx.Response:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(httpx, "get", get)
    with pytest.raises(PreflowError, match=r"http://nowhere: no answer within 0 s \(ConnectError\)"):
        bootstrap.wait_for("http://nowhere", seconds=0)


def test_waiting_ends_with_the_first_answer(bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Callable[[], httpx.Response]] = [lambda: httpx.Response(503), lambda: httpx.Response(403)]
    monkeypatch.setattr(httpx, "get", lambda *_, **__: answers.pop(0)())
    bootstrap.wait_for("http://store", pause=0)
    assert answers == []


@pytest.mark.parametrize(
    ("names", "said"), [(["bucket"], "Did you mean 'buckets'"), (["buckets"], "PREFLOW_BUCKETS is not set")]
)
def test_a_mistake_is_one_line_and_exit_code_2(
    bootstrap: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    names: list[str],
    said: str,
) -> None:
    monkeypatch.delenv("PREFLOW_BUCKETS", raising=False)
    assert bootstrap.main(names) == 2
    assert said in capsys.readouterr().err

"""The guard by itself: the text that opens our servers, and which requests are let through."""

from __future__ import annotations

import asyncio
import base64
import stat
import threading
from typing import Any

import pytest

from components.errors import UserError
from flows import guard


def test_the_text_is_made_once_and_only_its_owner_reads_it() -> None:
    text = guard.auth_string()
    assert stat.S_IMODE(guard.auth_file().stat().st_mode) == 0o600
    assert len(text.removeprefix("preflow:")) == 43
    assert guard.auth_string() == text
    assert list(guard.auth_file().parent.iterdir()) == [guard.auth_file()], "no draft is left"
    guard.auth_file().unlink()
    assert guard.auth_string() != text


def test_processes_that_make_it_at_once_agree() -> None:
    barrier, texts = threading.Barrier(8), []

    def make() -> None:
        barrier.wait()
        texts.append(guard.auth_string())

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(texts)) == 1
    assert len(texts) == 8


@pytest.mark.parametrize(("text", "mode"), [(f"preflow:{'x' * 43}", 0o640), ("preflow:short", 0o600), ("", 0o600)])
def test_a_text_that_others_can_read_or_guess_is_refused(text: str, mode: int) -> None:
    guard.auth_file().parent.mkdir(parents=True, exist_ok=True)
    guard.auth_file().write_text(text)
    guard.auth_file().chmod(mode)
    with pytest.raises(UserError, match="Delete it") as caught:
        guard.auth_string()
    assert "x" * 43 not in str(caught.value)


def scope(kind: str = "http", **headers: str) -> dict[str, Any]:
    named = {"host": "127.0.0.1:4200", **{name.replace("_", "-"): value for name, value in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in named.items()]
    return {"type": kind, "method": "GET", "path": "/", "headers": pairs}


def status(asked: dict[str, Any], auth: str = "") -> int:
    refusal = guard.Guard(None, 4200, auth).refusal(asked)  # type: ignore[arg-type]
    return refusal[0] if refusal else 200


def test_headers_said_twice_are_no_way_in() -> None:
    asked = scope()
    assert status(asked) == 200
    assert status({**asked, "headers": [*asked["headers"], (b"host", b"evil.example")]}) == 421
    assert status({**asked, "headers": []}) == 421
    ours = (b"origin", b"http://127.0.0.1:4200")
    assert status({**asked, "headers": [*asked["headers"], ours]}) == 200
    assert status({**asked, "headers": [*asked["headers"], ours, (b"origin", b"null")]}) == 403
    good = (b"authorization", b"Basic " + base64.b64encode(b"preflow:s"))
    assert status({**asked, "headers": [*asked["headers"], good]}, "preflow:s") == 200
    assert status({**asked, "headers": [*asked["headers"], good, good]}, "preflow:s") == 401
    assert status({**asked, "headers": [*asked["headers"], (b"authorization", b"Basic \xff")]}, "preflow:s") == 401


def test_health_alone_needs_no_credentials() -> None:
    assert status({**scope(), "path": "/health"}, "preflow:s") == 200
    assert status({**scope(), "path": "/health/"}, "preflow:s") == 401
    assert status({**scope(), "path": "/health", "method": "POST"}, "preflow:s") == 401
    assert status({**scope("websocket"), "path": "/health"}, "preflow:s") == 401


def test_what_is_let_through_reaches_the_application_and_the_rest_does_not() -> None:
    reached: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def nothing(*message: Any) -> dict[str, Any]:
        return {}

    for asked in (
        {"type": "lifespan"},
        scope(),
        scope("websocket"),
        scope(origin="https://evil.example"),
        scope("websocket", origin="https://evil.example"),
    ):
        asyncio.run(guard.Guard(app, 4200)(asked, nothing, nothing))  # type: ignore[arg-type]
    assert reached == ["lifespan", "http", "websocket"]

"""What keeps strangers out of the servers that we start: a text that only this project's owner knows, and who may ask.

Whoever may write to a workflow server may run commands on this machine. Loopback alone stops nobody: a page of any
website can send requests to 127.0.0.1 from a browser here, a name that its owner lets point to 127.0.0.1 turns such
a page into one of ours (DNS rebinding), and every user of the machine can connect. So what we start answers only
requests that name it by its own address, that no foreign page sends, and that know the text in `$PREFLOW_HOME/auth`.
"""

from __future__ import annotations

import base64
import hmac
import os
import secrets
import stat
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.contract.run import home
from components.errors import UserError

USER = "preflow"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def auth_file() -> Path:
    """Where the text lies with which people and programs sign in: one line, `preflow:` and 43 random characters."""
    return home() / "auth"


def auth_string() -> str:
    """The text in `auth_file()`, made at the first call. Raises UserError if others can read it, or it is none."""
    file = auth_file()
    if not file.exists():
        _make(file)
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        raise UserError(f"guard: {file} can be read by others (got mode {mode:04o}). Delete it: a new one is made.")
    text = file.read_text(encoding="ascii", errors="replace").strip()
    user, _, secret = text.partition(":")
    if user != USER or len(secret) < 32:
        raise UserError(f"guard: {file} does not hold '{USER}:' and a long secret. Delete it: a new one is made.")
    return text


def _make(file: Path) -> None:
    """Of two processes that make it at once one wins, and nobody ever sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=f"{file.name}.tmp-", dir=file.parent)  # mode 0600
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(f"{USER}:{secrets.token_urlsafe(32)}\n")
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)


def hosts(port: int) -> tuple[str, str]:
    """What a request to our server on this port calls it."""
    return (f"127.0.0.1:{port}", f"localhost:{port}")


def origins(port: int) -> tuple[str, ...]:
    """Where our own pages come from."""
    return tuple(f"http://{host}" for host in hosts(port))


@dataclass(frozen=True)
class Guard:
    """An ASGI application that lets through to `app` what comes from here, HTTP and WebSocket alike.

    With `auth` ("user:secret") it asks for HTTP Basic credentials too; only `GET /health` is answered without. An
    application that asks by itself (Prefect's API does) needs none here.
    """

    app: App
    port: int
    auth: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None if scope["type"] == "lifespan" else self.refusal(scope)
        if refusal is None:
            await self.app(scope, receive, _unframed(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the handshake gets a 403
        else:
            await _refuse(send, *refusal)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason why this request is not let through; None if it is."""
        if _values(scope, b"host") not in [[host] for host in hosts(self.port)]:
            return 421, f"This server is http://{hosts(self.port)[0]}."
        if not _from_our_pages(scope, self.port):
            return 403, "Pages of other origins may not ask this server."
        if self.auth and not self._signed_in(scope):
            return 401, f"Sign in with the name {USER} and the secret after the colon in $PREFLOW_HOME/auth."
        return None

    def _signed_in(self, scope: Scope) -> bool:
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("GET", "/health"):
            return True
        wanted = b"Basic " + base64.b64encode(self.auth.encode("ascii"))
        given = _values(scope, b"authorization")
        return len(given) == 1 and hmac.compare_digest(given[0].encode("latin-1"), wanted)


def serve(app: Any, port: int, auth: str = "") -> None:
    """Serve an application on loopback behind a `Guard` until this process is told to end."""
    import uvicorn

    options: dict[str, Any] = {"log_level": "warning", "timeout_graceful_shutdown": 3, "proxy_headers": False}
    uvicorn.run(Guard(app, port, auth), host="127.0.0.1", port=port, **options)


def _from_our_pages(scope: Scope, port: int) -> bool:
    """No page sent it, or one of ours; or a person follows a link to here, which only reads and shows.

    Browsers name the page's origin with every request that can change anything and with every WebSocket. Where they
    do not (images, scripts, forms that only read), they say whether the page is of another site.
    """
    origin = _values(scope, b"origin")
    if origin:
        return all(value in origins(port) for value in origin)
    if not {"cross-site", "same-site"} & set(_values(scope, b"sec-fetch-site")):
        return True
    navigation = _values(scope, b"sec-fetch-mode") == ["navigate"] and _values(scope, b"sec-fetch-dest") == ["document"]
    return navigation and scope["type"] == "http" and scope["method"] in ("GET", "HEAD")


def _values(scope: Scope, name: bytes) -> list[str]:
    """All values of a header (ASGI servers give names in lower case)."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _unframed(send: Send) -> Send:
    """No foreign page may show ours in a frame and have people click in it."""

    async def with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(key, value) for key, value in message.get("headers", []) if key.lower() != b"x-frame-options"]
            message["headers"] = [*kept, (b"x-frame-options", b"SAMEORIGIN")]
        await send(message)

    return with_header


async def _refuse(send: Send, status: int, reason: str) -> None:
    body = reason.encode("ascii")
    headers = [(b"content-type", b"text/plain; charset=us-ascii"), (b"content-length", str(len(body)).encode("ascii"))]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="preflow"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

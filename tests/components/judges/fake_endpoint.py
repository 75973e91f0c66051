"""A chat-completions server on loopback, scripted by a test. Real HTTP, no network."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server sends. `body` may be text that is no JSON."""

    body: dict[str, Any] | str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def says(text: str | None, finish: str = "stop", model: str = "m-2026-10") -> Reply:
    """A chat completion with this text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return Reply({"model": model, "choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}})


def fails(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    body = {"error": {"message": message, "code": code}}
    return Reply(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


class FakeEndpoint:
    """`answer(request_body, number_of_the_request)` decides; every request is kept, with the key it came with."""

    def __init__(self, answer: Callable[[dict[str, Any], int], Reply]) -> None:
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.paths: list[str] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self.base_url = ""

    def enter(self, body: dict[str, Any], key: str, path: str) -> int:
        with self._lock:
            self.requests.append(body)
            self.keys.append(key)
            self.paths.append(path)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            return len(self.requests)

    def leave(self) -> None:
        with self._lock:
            self._now -= 1


@contextmanager
def serve(answer: Callable[[dict[str, Any], int], Reply]) -> Iterator[FakeEndpoint]:
    endpoint = FakeEndpoint(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = endpoint.enter(body, self.headers.get("Authorization", ""), self.path)
            try:
                reply = endpoint.answer(body, number)
            finally:
                endpoint.leave()
            payload = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode("utf-8")
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *args: None  # a client that timed out has hung up; that is not this server's error
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    endpoint.base_url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

"""An endpoint that means harm, or is broken: it drips, never ends, sends a bomb, the key back, or is no endpoint."""

from __future__ import annotations

import gzip
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from components.errors import JudgeError, ParamsError
from components.judges import bounded
from components.judges.bounded import BoundedClient
from components.judges.client import ChatClient
from tests.components.judges.fake_endpoint import Reply, fails, says, serve

KEY = "sk-loopback-0123456789"
BODY = {"model": "m", "messages": []}
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture(autouse=True)
def _key_and_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_JUDGE_KEY", KEY)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", bounded.ALLOW_VARIABLE):
        monkeypatch.delenv(name, raising=False)


class Raw:
    """A server that does what a test says with each connection, byte by byte. Notes what was sent to it."""

    def __init__(self) -> None:
        self.base_url = ""
        self.received = b""
        self.connections = 0
        self.closed = threading.Event()


@contextmanager
def raw(act: Callable[[socket.socket, Raw], None]) -> Iterator[Raw]:
    server, state = socket.create_server(("127.0.0.1", 0)), Raw()
    state.base_url = f"http://127.0.0.1:{server.getsockname()[1]}/v1"

    def one(connection: socket.socket) -> None:
        with connection:
            try:
                state.received += connection.recv(65536)
                act(connection, state)
            except OSError:
                state.closed.set()  # the client has hung up

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            state.connections += 1
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def drips(start: bytes) -> Callable[[socket.socket, Raw], None]:
    """Sends a byte now and then, for ever: no read ever takes long."""

    def act(connection: socket.socket, state: Raw) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b" ")
            time.sleep(0.02)

    return act


def pours(connection: socket.socket, state: Raw) -> None:
    connection.sendall(OK + b"\r\n{")
    while True:
        connection.sendall(b" " * 65536)


@pytest.mark.parametrize("start", [OK + b"\r\n{", OK + b"X-Slow: ", b"HTTP/1.1 200 O"], ids=["body", "header", "line"])
def test_a_dripping_answer_ends_by_the_total_timeout(start: bytes) -> None:
    with raw(drips(start)) as endpoint:
        client = ChatClient(endpoint.base_url, timeout=0.3, retries=1, backoff=0.001)
        with pytest.raises(JudgeError, match=r"after 2 attempt\(s\) \(ReadTimeout: no whole answer within 0\.3 s\)"):
            client.complete(BODY)
        client.close()
        assert endpoint.closed.wait(10), "the connection is given up, not only the answer"
    assert endpoint.connections == 2


def test_an_endless_answer_ends_by_its_size_and_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_BYTES", 2**20)
    with raw(pours) as endpoint:
        client = ChatClient(endpoint.base_url, timeout=60, retries=5, backoff=0.001)
        with pytest.raises(JudgeError, match="one answer is larger than 1 MiB"):
            client.complete(BODY)
        client.close()
        assert endpoint.closed.wait(10)
    assert endpoint.connections == 1


def test_an_answer_of_the_greatest_size_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_BYTES", 1000)
    with serve(lambda body, number: Reply("x" * (1000 if number == 1 else 1001))) as endpoint:
        client = BoundedClient({}, 10)
        assert len(client.post(endpoint.base_url, BODY).content) == 1000
        with pytest.raises(JudgeError, match="larger"):
            client.post(endpoint.base_url, BODY)
        client.close()


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "MOST_BYTES", 2**20)
    small, large = gzip.compress(b'{"a": 1}'), gzip.compress(bytes(2**20 + 1))
    assert len(large) < 2000
    assert bounded.unpacked(small, "gzip", "u") == b'{"a": 1}'
    assert bounded.unpacked(small, "", "u") == small
    with pytest.raises(JudgeError, match="larger"):
        bounded.unpacked(large, "GZIP", "u")
    with pytest.raises(JudgeError, match=r"got 'gzip, gzip'"):
        bounded.unpacked(gzip.compress(small), "gzip, gzip", "u")
    with pytest.raises(httpx.DecodingError):
        bounded.unpacked(b"no gzip", "gzip", "u")


def test_a_packed_answer_that_fits_is_read() -> None:
    plain = json.dumps(says("[[A]]").body).encode()

    def packed(connection: socket.socket, state: Raw) -> None:
        content = gzip.compress(plain)
        connection.sendall(OK + f"Content-Encoding: gzip\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content)

    with raw(packed) as endpoint:
        client = ChatClient(endpoint.base_url, timeout=10, retries=0)
        assert client.complete(BODY).text == "[[A]]"
        client.close()
        assert b"accept-encoding: identity" in endpoint.received.lower()


def test_abandon_ends_what_is_in_flight_and_stop_does_not() -> None:
    """`stop` lets an answer that was asked for arrive; `abandon` is for a process that has to end."""
    asked, go = threading.Event(), threading.Event()

    def answer(body: dict[str, object], number: int) -> Reply:
        asked.set()
        go.wait(20)
        return says("[[A]]")

    for end, outcome in ((ChatClient.stop, "[[A]]"), (ChatClient.abandon, JudgeError)):
        asked.clear(), go.clear()
        with serve(answer) as endpoint, ThreadPoolExecutor(1) as pool:
            client = ChatClient(endpoint.base_url, timeout=60, retries=3)
            future = pool.submit(client.complete, BODY)
            assert asked.wait(20)
            end(client)
            if outcome is JudgeError:
                assert isinstance(future.exception(20), JudgeError)  # while the server still waits
                with pytest.raises(JudgeError, match="abandoned"):
                    client.complete(BODY)
            go.set()
            if outcome is not JudgeError:
                assert future.result(20).text == outcome
            client.close()


INTERRUPTED = """
import sys
from pathlib import Path
from components.judges.asker import Question
from components.judges.cache import AnswerCache
from components.judges.client import ChatClient
from components.judges.endpoint import EndpointAsker
from components.judges.kinds import Endpoint
way, url, cache = sys.argv[1:]
if way == "client":
    ChatClient(url, timeout=500).complete({"model": "m", "messages": []})
else:
    params = Endpoint(model="m", base_url=url, timeout=500.0, concurrency=4)
    questions = [Question([{"role": "user", "content": str(i)}], "test@1") for i in range(9)]
    EndpointAsker(params, AnswerCache(Path(cache))).ask(questions)
"""


@pytest.mark.parametrize("way", ["client", "judge"])
def test_ctrl_c_ends_a_process_that_waits_for_a_dripping_answer(way: str, tmp_path: Path) -> None:
    with raw(drips(OK + b"\r\n{")) as endpoint:
        argv = [sys.executable, "-c", INTERRUPTED, way, endpoint.base_url, str(tmp_path)]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
        try:
            deadline = time.monotonic() + 60
            while endpoint.connections < (1 if way == "client" else 4):
                assert time.monotonic() < deadline, "it never asked"
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)  # of the 500 s that a request may take
        finally:
            process.kill()
    assert process.returncode != 0
    assert said.rstrip().endswith("KeyboardInterrupt"), said


@pytest.mark.parametrize("written", [KEY, "".join(f"\\u{ord(c):04x}" for c in KEY)], ids=["plain", "escaped"])
def test_a_key_that_the_endpoint_sends_back_is_in_no_answer(written: str) -> None:
    text = '{"model": "KEY", "choices": [{"message": {"content": "[[A]] KEY"}, "finish_reason": "KEY"}]}'
    with serve(lambda body, number: Reply(text.replace("KEY", written))) as endpoint:
        client = ChatClient(endpoint.base_url, "TEST_JUDGE_KEY", timeout=10, retries=0)
        answer = client.complete(BODY)
        client.close()
    assert endpoint.keys == [f"Bearer {KEY}"]
    assert (answer.text, answer.model, answer.finish) == ("[[A]] ***", "***", "***")


def test_a_key_that_comes_back_cut_into_tokens_takes_their_log_probabilities_along() -> None:
    def answer(body: dict[str, object], number: int) -> Reply:
        tokens = ["[[A]]", " ", KEY[:7], KEY[7:]] if number == 1 else ["[[", "A", "]]"]
        reply = says("".join(tokens))
        assert isinstance(reply.body, dict)
        reply.body["choices"][0]["logprobs"] = {"content": [{"token": token, "logprob": -0.5} for token in tokens]}
        return reply

    with serve(answer) as endpoint:
        client = ChatClient(endpoint.base_url, "TEST_JUDGE_KEY", timeout=10, retries=0)
        echoed, honest = client.complete(BODY), client.complete(BODY)
        client.close()
    assert (echoed.text, echoed.logprobs) == ("[[A]] ***", None)
    assert [place["token"] for place in honest.logprobs or ()] == ["[[", "A", "]]"]


def test_a_key_with_characters_that_json_escapes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    key = 'a"quoted\\key'
    monkeypatch.setenv("TEST_JUDGE_KEY", key)
    with serve(lambda body, number: says(f"you sent {key}")) as endpoint:
        client = ChatClient(endpoint.base_url, "TEST_JUDGE_KEY", timeout=10, retries=0)
        assert client.complete(BODY).text == "you sent ***"
        client.close()


def test_what_is_too_short_for_a_secret_does_not_garble_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local servers take any key; with `A` as key the verdict [[A]] must still be read."""
    monkeypatch.setenv("TEST_JUDGE_KEY", "A")
    with serve(lambda body, number: says("[[A]]")) as endpoint:
        client = ChatClient(endpoint.base_url, "TEST_JUDGE_KEY", timeout=10, retries=0)
        assert client.complete(BODY).text == "[[A]]"
        client.close()


def test_errors_hide_the_key_too() -> None:
    with serve(lambda body, number: fails(400, f"bad key {KEY}")) as endpoint:
        client = ChatClient(endpoint.base_url, "TEST_JUDGE_KEY", timeout=10, retries=0)
        with pytest.raises(ParamsError, match=r"bad key \*\*\*"):
            client.complete(BODY)
        client.close()


@pytest.mark.parametrize(("status", "said"), [(200, "no chat completion"), (500, "HTTP 500")])
@pytest.mark.parametrize("key", ["", "TEST_JUDGE_KEY"])
def test_an_answer_nested_a_million_deep_is_no_answer(status: int, said: str, key: str) -> None:
    with serve(lambda body, number: Reply("[" * 10**6, status)) as endpoint:
        client = ChatClient(endpoint.base_url, key, timeout=30, retries=0)
        with pytest.raises(JudgeError, match=said):
            client.complete(BODY)
        client.close()


INSIDE = ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"]
INSIDE += ["2002:a9fe:a9fe::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"]
OUTSIDE = [
    "127.0.0.1",
    "::1",
    "10.0.0.7",
    "192.168.1.5",
    "100.100.100.201",
    "8.8.8.8",
    "fd00:ec3::1",
    "64:ff9b::808:808",
]


def test_the_inside_of_a_cloud_machine_is_refused_however_it_is_written() -> None:
    assert [text for text in INSIDE if not bounded.refused(ipaddress.ip_address(text))] == []
    assert [text for text in OUTSIDE if bounded.refused(ipaddress.ip_address(text))] == []


@pytest.mark.parametrize("address", ["169.254.169.254", "[fe80::1]"])
def test_an_address_in_base_url_is_refused_before_anything_is_sent(address: str) -> None:
    client = ChatClient(f"http://{address}:9/v1", "TEST_JUDGE_KEY", timeout=10, retries=0)
    with pytest.raises(ParamsError, match=r"judge\.base_url: leads to .*PREFLOW_JUDGE_ALLOW="):
        client.complete(BODY)
    client.close()


def test_a_name_that_leads_there_gets_a_connection_and_not_one_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here loopback stands for the metadata service: the address is seen after resolving, when it is connected to."""
    monkeypatch.setattr(bounded, "_CLOUD_INSIDE", (ipaddress.ip_network("127.0.0.0/8"),))
    with raw(lambda connection, state: None) as endpoint:
        name = endpoint.base_url.replace("127.0.0.1", "localhost")
        client = ChatClient(name, "TEST_JUDGE_KEY", timeout=10, retries=3, backoff=0.001)
        with pytest.raises(ParamsError, match=r"leads to 127\.0\.0\.1"):
            client.complete(BODY)
        client.close()
    assert endpoint.received == b""
    assert endpoint.connections <= 1, "it is not tried again"


def test_who_starts_the_process_may_allow_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "_CLOUD_INSIDE", (ipaddress.ip_network("127.0.0.0/8"),))
    monkeypatch.setenv(bounded.ALLOW_VARIABLE, "10.9.0.0/16, 127.0.0.1")
    with serve(lambda body, number: says("[[A]]")) as endpoint:
        client = ChatClient(endpoint.base_url, timeout=10, retries=0)
        assert client.complete(BODY).text == "[[A]]"
        client.close()
    monkeypatch.setenv(bounded.ALLOW_VARIABLE, "10.9.0.0/16, everything")
    with pytest.raises(ParamsError, match="PREFLOW_JUDGE_ALLOW: 'everything'"):
        bounded.check_address("127.0.0.1")


def test_many_threads_share_one_client() -> None:
    with serve(lambda body, number: says(str(body["n"]))) as endpoint, ThreadPoolExecutor(16) as pool:
        client = ChatClient(endpoint.base_url, timeout=30, retries=0)
        texts = list(pool.map(lambda n: client.complete({**BODY, "n": n}).text, range(64)))
        client.close()
    assert texts == [str(n) for n in range(64)]

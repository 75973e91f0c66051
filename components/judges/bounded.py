"""HTTP to an endpoint that may be anybody's: bounded in time and size, ended on demand, never the inside of a cloud.

A timeout per read, which HTTP clients offer, bounds nothing: an answer that drips a byte a second never ends. So the
whole of a request has one timeout, and an answer a greatest size. Addresses at which clouds hand credentials to their
machines are refused after the name is resolved and connected to, so that no name can lead there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import threading
import zlib
from collections.abc import Mapping
from concurrent.futures import CancelledError, Future
from typing import Any

import httpx

from components.errors import JudgeError, ParamsError

MOST_BYTES = 32 * 2**20  # of one answer; 100,000 tokens with 20 alternatives each stay well below
ALLOW_VARIABLE = "PREFLOW_JUDGE_ALLOW"
_CLOUD_INSIDE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "169.254.0.0/16",  # link-local; nearly every cloud serves credentials at 169.254.169.254
        "fe80::/10",  # link-local
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
        "fd00:ec2::/32",  # Amazon
        "fd20:ce::254/128",  # Google
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class BoundedClient:
    """`post` may be called from many threads at once; each call ends within `timeout` seconds, or by `abandon`."""

    def __init__(self, headers: Mapping[str, str], timeout: float, connect: float = 10.0) -> None:
        """timeout: seconds from the call to the last byte of the answer; connect: of these, to a connection at most."""
        self._timeout = timeout
        self._running: set[Future[httpx.Response]] = set()
        self._lock = threading.Lock()
        self._abandoned = False
        self._http = httpx.AsyncClient(
            headers={**headers, "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(None, connect=connect),
            limits=httpx.Limits(max_connections=None),
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="judge-http", daemon=True)
        self._thread.start()

    def post(self, url: str, body: Mapping[str, Any]) -> httpx.Response:
        """The whole answer. Raises httpx.RequestError (no connection, too slow, abandoned), JudgeError (too large or in
        an encoding that was not asked for), ParamsError (an address that is not to be asked)."""
        check_address(httpx.URL(url).host)
        with self._lock:
            if self._abandoned:
                raise httpx.ReadError("abandoned")
            future = asyncio.run_coroutine_threadsafe(self._post(url, body), self._loop)
            self._running.add(future)
        try:
            return future.result()
        except CancelledError:
            raise httpx.ReadError("abandoned") from None
        finally:
            with self._lock:
                self._running.discard(future)

    def abandon(self) -> None:
        """End what is in flight at once, whatever was paid for it; every `post` fails from now on."""
        with self._lock:
            self._abandoned = True
            running = list(self._running)
        for future in running:
            future.cancel()

    def close(self) -> None:
        """Give the connections back. Nothing can be sent afterwards."""
        self.abandon()
        asyncio.run_coroutine_threadsafe(self._http.aclose(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _post(self, url: str, body: Mapping[str, Any]) -> httpx.Response:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._whole(url, body)
        except TimeoutError:
            raise httpx.ReadTimeout(f"no whole answer within {self._timeout:g} s") from None

    async def _whole(self, url: str, body: Mapping[str, Any]) -> httpx.Response:
        raw = bytearray()
        async with self._http.stream("POST", url, json=dict(body), extensions={"trace": _check_peer}) as response:
            async for piece in response.aiter_raw():
                raw += piece
                if len(raw) > MOST_BYTES:
                    raise _too_large(url)
        headers = httpx.Headers(response.headers)
        content = unpacked(bytes(raw), headers.pop("Content-Encoding", ""), url)
        return httpx.Response(response.status_code, headers=headers, content=content)


def unpacked(raw: bytes, encoding: str, url: str) -> bytes:
    """The content of a body, at most MOST_BYTES. Some proxies pack what they were asked not to; a bomb is no answer."""
    if encoding.lower() in ("", "identity"):
        return raw
    if encoding.lower() != "gzip":
        raise JudgeError(
            f"judge {url}: the answer is packed, though it was asked for plain (got '{encoding}'). Correct the proxy."
        )
    try:
        content = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(raw, MOST_BYTES + 1)
    except zlib.error as error:
        raise httpx.DecodingError(f"the answer is no gzip ({error})") from None
    if len(content) > MOST_BYTES:
        raise _too_large(url)
    return content


def _too_large(url: str) -> JudgeError:
    return JudgeError(
        f"judge {url}: one answer is larger than {MOST_BYTES // 2**20} MiB. Check judge.base_url, or lower "
        "judge.max_tokens. Answers so far are kept."
    )


def refused(address: Address) -> bool:
    """It is link-local or a cloud's metadata service, in whatever way it is written, and $PREFLOW_JUDGE_ALLOW does not
    name it (a comma-separated list of networks, set by whoever starts the process: parameters may come from others)."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(address.packed[-4:])
        address = inner or address
    return any(address in network for network in _CLOUD_INSIDE) and not any(address in n for n in _allowed())


def _allowed() -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    names = os.environ.get(ALLOW_VARIABLE, "")
    try:
        return [ipaddress.ip_network(name.strip()) for name in names.split(",") if name.strip()]
    except ValueError as error:
        raise ParamsError(f"{ALLOW_VARIABLE}: {error}. Write networks like 169.254.10.0/24, with commas.") from None


def check_address(host: str) -> None:
    """Raises ParamsError if `host` is an address that is not to be asked; a name is looked at once it is resolved.

    (Behind a proxy this is all that can be seen: the proxy resolves and connects.)
    """
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return
    if refused(address):
        raise ParamsError(
            f"judge.base_url: leads to {address}, which is link-local or the inside of a cloud machine. Name the "
            f"judge's own address, or allow this one where the step is started: {ALLOW_VARIABLE}={address}."
        )


async def _check_peer(event: str, facts: Mapping[str, Any]) -> None:
    """httpx's `trace` extension: called with the connection before anything is sent over it."""
    if event != "connection.connect_tcp.complete":
        return
    stream = facts["return_value"]
    try:
        check_address(str(stream.get_extra_info("server_addr")[0]))
    except ParamsError:
        await stream.aclose()
        raise

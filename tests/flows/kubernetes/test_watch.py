"""Watching goes on after what happens to connections: a version that is too old, a server that is away."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import pytest

from components.errors import PreflowError
from flows.kubernetes import watch
from flows.kubernetes.api import Api, Denied, Gone, Unreachable
from flows.kubernetes.cluster import Cluster
from flows.kubernetes.watch import Change, Following, Watcher


def item(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "resourceVersion": str(version)}}


class Server(Api):
    """Answers from a script: every list and every watch takes the next entry; an exception is raised."""

    def __init__(self, *script: Any) -> None:
        super().__init__(Cluster(name="fake"))
        self.script = list(script)
        self.asked: list[str] = []

    def _next(self, what: str) -> Any:
        self.asked.append(what)
        entry = self.script.pop(0) if self.script else Denied("the script is over.")
        if isinstance(entry, Exception):
            raise entry
        return entry

    def jobs(self, selector: str) -> Any:
        return self._next("list")

    def watch(self, kind: str, selector: str, version: str, seconds: int) -> Iterator[dict[str, Any]]:
        for entry in self._next(f"watch {version}"):
            if isinstance(entry, Exception):
                raise entry
            yield entry

    def follow_log(self, pod: str, container: str, seconds: int = 0) -> Iterator[str]:
        for entry in self._next(f"log {seconds > 0}"):
            if isinstance(entry, Exception):
                raise entry
            yield entry


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE", (0.001, 0.01))


def changes(server: Server, patience: float = 60.0) -> list[Change | PreflowError]:
    """What a watcher reports until the script is over (or its patience is)."""
    out: queue.Queue[Change | PreflowError] = queue.Queue()
    watcher = Watcher(server, "jobs", "x=y", out, patience)
    watcher.run()
    return [out.get_nowait() for _ in range(out.qsize())]


def event(kind: str, name: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": item(name, version)}


def test_list_then_watch_from_there_then_from_the_last_version_seen() -> None:
    server = Server(
        ([item("a", 1)], "5"),
        [event("ADDED", "b", 6), event("BOOKMARK", "", 9)],
        [event("DELETED", "a", 10)],
    )
    first, added, deleted, over = changes(server)
    assert isinstance(first, Change)
    assert first.whole
    assert [found["metadata"]["name"] for found in first.objects] == ["a"]
    assert isinstance(added, Change)
    assert (added.objects[0]["metadata"]["name"], added.deleted) == ("b", False)
    assert isinstance(deleted, Change)
    assert deleted.deleted
    assert isinstance(over, Denied)
    assert server.asked == ["list", "watch 5", "watch 9", "watch 10"], "a bookmark counts, and nothing is listed twice"


def test_a_version_that_is_too_old_means_a_new_list() -> None:
    server = Server(([], "5"), Gone("too old"), ([item("a", 7)], "8"), [Gone("too old, in the stream")], ([], "9"))
    found = changes(server)
    assert [type(change) for change in found] == [Change, Change, Change, Denied]
    assert server.asked == ["list", "watch 5", "list", "watch 8", "list", "watch 9"]


def test_a_lost_connection_means_a_new_list() -> None:
    server = Server(Unreachable("away"), ([], "1"), [event("ADDED", "a", 2), Unreachable("broken")], ([], "3"))
    assert [type(change) for change in changes(server)] == [Change, Change, Change, Denied]
    assert server.asked == ["list", "list", "watch 1", "list", "watch 3"]


def test_patience_with_a_server_that_is_away_ends() -> None:
    server = Server(*[Unreachable("away")] * 1000)
    (found,) = changes(server, patience=0.05)
    assert isinstance(found, Unreachable)
    assert len(server.asked) > 1


def test_what_is_not_allowed_is_not_tried_again() -> None:
    server = Server(Denied("no"))
    assert [type(change) for change in changes(server)] == [Denied]
    assert server.asked == ["list"]


def stamped(*seconds: int) -> list[str]:
    return [f"2026-11-24T00:00:{second:02d}.000000000Z line {second}" for second in seconds]


def followed(server: Server) -> list[str]:
    lines: list[str] = []
    follower = Following(server, "pod", "step", lines.append)
    follower.ended.set()
    while server.script:
        follower.run()
    return lines


def test_a_log_goes_on_after_a_lost_connection_and_says_nothing_twice() -> None:
    server = Server(
        [*stamped(1, 2), Unreachable("broken")], [*stamped(1, 2, 3), Unreachable("broken")], stamped(2, 3, 4)
    )
    assert followed(server) == ["line 1", "line 2", "line 3", "line 4"]
    assert server.asked == ["log False", "log True", "log True"], "after the first time only the last part is asked for"


def test_two_lines_of_one_instant_are_two_lines() -> None:
    assert followed(Server(stamped(1, 1, 1))) == ["line 1"] * 3

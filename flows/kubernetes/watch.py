"""List, then watch from there; after a lost connection or a version that is too old (410), list again."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from components.errors import PreflowError
from flows.kubernetes.api import Api, Document, Gone, Unreachable

SECONDS = 300  # one watch request; the server ends it then, and the next goes on where it ended
PAUSE = (0.2, 10.0)  # seconds between two tries: first, most


@dataclass(frozen=True)
class Change:
    """What a watcher saw. `whole`: every object there is, after a list. Otherwise one object, perhaps deleted."""

    kind: str
    objects: tuple[Document, ...]
    whole: bool = False
    deleted: bool = False


class Watcher(threading.Thread):
    """Puts every change of the objects of one kind under a selector into `out`.

    An error that no retry can cure, or a server that is away for `patience` seconds, is put there as an exception.
    """

    def __init__(
        self, api: Api, kind: str, selector: str, out: queue.Queue[Change | PreflowError], patience: float
    ) -> None:
        super().__init__(name=f"watch-{kind}", daemon=True)
        self.api, self.kind, self.selector, self.out, self.patience = api, kind, selector, out, patience
        self._stopped = threading.Event()
        self._heard = time.monotonic()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        pause = PAUSE[0]
        while not self._stopped.is_set():
            try:
                self._follow(self._relist())
                pause = PAUSE[0]
            except Gone:
                continue
            except Unreachable as error:
                if time.monotonic() - self._heard > self.patience:
                    self.out.put(error)
                    return
                self._stopped.wait(pause)
                pause = min(2 * pause, PAUSE[1])
            except PreflowError as error:
                self.out.put(error)
                return

    def _relist(self) -> str:
        objects, version = (self.api.jobs if self.kind == "jobs" else self.api.pods)(self.selector)
        self._heard = time.monotonic()
        self.out.put(Change(self.kind, tuple(objects), whole=True))
        return version

    def _follow(self, version: str) -> None:
        """Watch until the server ends it: then from the last version seen, without a list."""
        while not self._stopped.is_set():
            for event in self.api.watch(self.kind, self.selector, version, SECONDS):
                self._heard = time.monotonic()
                version = event["object"]["metadata"]["resourceVersion"]
                if event["type"] != "BOOKMARK":
                    self.out.put(Change(self.kind, (event["object"],), deleted=event["type"] == "DELETED"))
                if self._stopped.is_set():
                    return


class Following(threading.Thread):
    """One pod's log, line by line into `sink`, across reconnects; nothing twice."""

    def __init__(self, api: Api, pod: str, container: str, sink: Callable[[str], None]) -> None:
        super().__init__(name=f"log-{pod}", daemon=True)
        self.api, self.pod, self.container, self.sink = api, pod, container, sink
        self.ended = threading.Event()  # the container has ended: what is left is read, then this thread ends
        self._last = ""
        self._since = 0.0

    def run(self) -> None:
        pause = PAUSE[0]
        while True:
            final = self.ended.is_set()
            try:
                self._read()
                if final:
                    return
            except Unreachable:
                pause = min(2 * pause, PAUSE[1])
            except PreflowError:  # no such pod (any more), or its container has not started yet
                if final:
                    return
            self.ended.wait(pause)

    def _read(self) -> None:
        seconds = int(time.monotonic() - self._since) + 60 if self._last else 0
        seen = self._last
        for line in self.api.follow_log(self.pod, self.container, seconds):
            stamp, _, text = line.partition(" ")
            if stamp > seen:  # RFC 3339 with fixed digits: the order of texts is the order of times
                self._last, self._since = stamp, time.monotonic()
                self.sink(text)

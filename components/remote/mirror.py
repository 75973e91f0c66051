"""While a step runs, its checkpoints are copied to the remote, so that another machine can go on from them."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import TracebackType

from components.remote import Remote
from components.remote.work import scan

EVERY = 5.0  # seconds between two looks at the workdir


class Mirror:
    """Copies each new complete checkpoint of `folder`, and the last one when the step ends early.

    A copy that fails is reported on stderr and tried again; it never ends the step.
    """

    def __init__(self, remote: Remote, identity: str, folder: Path) -> None:
        self._remote, self._identity, self._folder = remote, identity, folder
        self._kept = scan(folder)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="mirror", daemon=True)
        self._said = ""

    def __enter__(self) -> Mirror:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if kind is not None:
            self._copy()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY):
            self._copy()

    def _copy(self) -> None:
        try:
            found = scan(self._folder)
            if found and found != self._kept:
                self._remote.save_work(self._identity, self._folder)
                self._kept = found
        except Exception as error:  # noqa: BLE001  (the step is worth more than its mirror)
            if str(error) != self._said:
                self._said = str(error)
                print(f"checkpoint: not mirrored: {error}", file=sys.stderr, flush=True)

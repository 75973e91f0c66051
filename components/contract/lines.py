"""Progress bars as lines, for a stderr that is a log: what ends in a carriage return is not shown by one."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

BAR_SECONDS = "5"  # between two states of a bar: each is a line


class Lines:
    """A text stream that turns carriage returns into line ends, and shows each state of a bar at once."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._open = False  # something stands on the current line
        self._bar = False  # the last text came after a carriage return, so a line end after it adds nothing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._lock:
            for number, piece in enumerate(text.replace("\r\n", "\n").split("\r")):
                if number:
                    self._end()
                    self._bar = True
                self._plain(piece)
        return len(text)

    def _plain(self, piece: str) -> None:
        if self._bar and not self._open and piece.startswith("\n"):
            self._bar, piece = False, piece[1:]
        if self._bar and not piece.strip(" "):  # a bar that is wiped out
            return
        if piece:
            self._stream.write(piece)
            self._open = not piece.endswith("\n")
            self._bar = self._bar and "\n" not in piece

    def _end(self) -> None:
        if self._open:
            self._stream.write("\n")
        self._open = False

    def flush(self) -> None:
        with self._lock:
            if self._bar:
                self._end()
            self._stream.flush()


@contextmanager
def lines_on_stderr() -> Iterator[None]:
    """Within it a stderr that is not a terminal gets lines only. Bars that are made from now on change less often."""
    before = sys.stderr
    if before is None or before.isatty():
        yield
        return
    os.environ.setdefault("TQDM_MININTERVAL", BAR_SECONDS)
    sys.stderr = cast(Any, Lines(before))
    try:
        yield
    finally:
        sys.stderr.flush()
        sys.stderr = before

"""One writer at a time: a lock made of tags, for clients on other machines (components.locks: on one machine)."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from components.errors import PreflowError

LOCK = "lock."
STALE = 120.0  # seconds; the lock is held for milliseconds, so an older one belongs to a process that died
PATIENCE = 180.0


@contextmanager
def tag_lock(
    where: str, read: Callable[[], Mapping[str, str]], write: Callable[[str, str], None], delete: Callable[[str], None]
) -> Iterator[None]:
    """Hold a lock made of tags, for clients that share nothing but the registry.

    Each client first writes its own tag and then looks for others: of two that overlap, at least one sees the other
    and steps back. MLflow offers no conditional write, so this is what makes number N+1 of the ledger unique.
    """
    mine, until = f"{LOCK}{uuid.uuid4().hex[:12]}", time.time() + PATIENCE
    while True:
        write(mine, repr(time.time()))
        others = {key: float(text) for key, text in read().items() if key.startswith(LOCK) and key != mine}
        if not others:
            break
        delete(mine)
        for key, since in others.items():
            if time.time() - since > STALE:
                delete(key)
        if time.time() > until:
            raise PreflowError(f"{where}: another client has held the registry for {PATIENCE:.0f} s. Try again later.")
        time.sleep(random.uniform(0.02, 0.2))
    try:
        yield
    finally:
        delete(mine)

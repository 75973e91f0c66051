"""How much memory a step's pod used when it last looked. A process that is killed for its memory can say nothing any
more, so it is written beforehand, again and again, where the kubelet finds a container's last words."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from components.contract.termination import FILE

EVERY = 2.0  # seconds between two looks
_CGROUP = Path("/sys/fs/cgroup/memory.current")


def watch_memory(every: float = EVERY) -> None:
    """Keep {"memory_bytes": N} in the termination message of this container; nothing outside one.

    N is the most that was seen. It makes room for the message of an error and never overwrites one.
    """
    name = os.environ.get(FILE)
    if name and os.environ.get("LOCAL_RANK", "0") == "0":
        threading.Thread(target=_watch, args=(Path(name), every), name="memory", daemon=True).start()


def _watch(file: Path, every: float) -> None:
    most, pause = 0, threading.Event()
    while True:
        used = memory_used()
        if used > most:
            most = used
            if not _note(file, most):
                return
        pause.wait(every)


def _note(file: Path, used: int) -> bool:
    """Write it, unless there is something else; False if there is, or if it cannot be written."""
    try:
        known = file.read_bytes() if file.exists() else b""
        if known and b'"memory_bytes"' not in known:
            return False
        file.write_bytes(json.dumps({"memory_bytes": used}).encode())
    except OSError:
        return False
    return True


def memory_used() -> int:
    """Bytes in use by this container: by its control group, or by all processes it can see (only its own)."""
    try:
        return int(_CGROUP.read_text())
    except (OSError, ValueError):
        return sum(_resident(Path("/proc") / pid) for pid in os.listdir("/proc") if pid.isdigit())


def _resident(process: Path) -> int:
    try:
        return int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):  # it has ended meanwhile
        return 0

"""How a step ended, for whoever looks at its pod: the file that PREFLOW_TERMINATION_LOG names.

torchrun swallows the exit codes of its workers, and so the difference between a mistake and a crash; the kubelet shows
this file in the pod's status.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from components.errors import PreflowError

FILE = "PREFLOW_TERMINATION_LOG"
LIMIT = 4000  # bytes; the kubelet shows 4096
_CRASH = 2000  # characters of a message that was not written for a person


def leave_message(error: BaseException) -> None:
    """Write the error's class, exit code and message. Of several processes' messages the one that is final stays."""
    name = os.environ.get(FILE)
    if not name:
        return
    final = isinstance(error, PreflowError)
    code = error.exit_code if isinstance(error, PreflowError) else 1
    message = str(error) if final else str(error)[:_CRASH]
    try:
        if code != 1 or _code(Path(name)) == 1:
            Path(name).write_bytes(_encode({"error": type(error).__name__, "exit_code": code, "message": message}))
    except OSError as problem:
        print(f"termination message: not written ({problem})", file=sys.stderr, flush=True)


def _code(file: Path) -> int:
    """The exit code of the message that another process of this pod left; 1 if there is none."""
    try:
        return int(json.loads(file.read_bytes())["exit_code"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 1


def _encode(facts: dict[str, Any]) -> bytes:
    while len(text := json.dumps(facts, ensure_ascii=False).encode("utf-8", "replace")) > LIMIT:
        facts["message"] = facts["message"][: -max(1, (len(text) - LIMIT) // 4)]
    return text

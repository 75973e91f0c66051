"""Answers of judges on disk, so that no question is paid for twice: not by this step, nor by another, nor elsewhere."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

from components.artifacts import write_text
from components.contract.record import canonical
from components.errors import ArtifactError

EVERY = 2.0  # seconds that an answer waits for others to share a segment of the journal with


def cache_key(question: dict[str, Any]) -> str:
    """sha256 of everything that decides an answer: contract, model, endpoint, rendered prompt, decoding, sample."""
    return hashlib.sha256(canonical(question).encode("utf-8")).hexdigest()


class AnswerCache:
    """`folder/<first 2 characters>/<key>.json`, for all steps of this machine, and a journal for the next machine.

    The journal (a step's workdir, which is mirrored to the remote while the step runs) gets the answers of this step in
    segments `answers-NNNNNN.jsonl` that never change: few, whole files, however fast the answers come. What it holds
    when the cache is opened goes into the folder. Writes are atomic: a killed run leaves whole answers or none.
    """

    def __init__(self, folder: Path, journal: Path | None = None) -> None:
        self.folder, self._journal = folder, journal
        self._pending: dict[str, dict[str, Any]] = {}
        self._written: set[str] = set()
        self._lock = threading.Lock()
        if journal is not None:
            journal.mkdir(parents=True, exist_ok=True)
        for segment in self._segments():
            for key, answer in _read(segment):
                self._written.add(key)
                if not self._path(key).is_file():
                    write_text(self._path(key), canonical(answer))

    def _segments(self) -> list[Path]:
        return sorted(self._journal.glob("answers-*.jsonl")) if self._journal is not None else []

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer, or None. Raises ArtifactError for a damaged file."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            answer: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ArtifactError(f"{path}: a damaged judge answer ({error}). Delete the file and rerun.") from error
        self._note(key, answer)
        return answer

    def put(self, key: str, answer: dict[str, Any]) -> None:
        write_text(self._path(key), canonical(answer))
        self._note(key, answer)

    def _note(self, key: str, answer: dict[str, Any]) -> None:
        """Answers that were found count too: the next machine may not have them."""
        with self._lock:
            if self._journal is None or key in self._written:
                return
            if not self._pending:
                timer = threading.Timer(EVERY, self.flush)
                timer.daemon = True
                timer.start()
            self._pending[key] = answer

    def flush(self) -> None:
        """Write what is not in the journal yet as its next segment."""
        with self._lock:
            if self._journal is None or not self._pending:
                return
            lines = [canonical({"key": key, "answer": answer}) for key, answer in self._pending.items()]
            name = f"answers-{len(self._segments()):06}.jsonl"
            write_text(self._journal / name, "\n".join(lines) + "\n")
            self._written |= self._pending.keys()
            self._pending = {}


def _read(segment: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        rows = [json.loads(line) for line in segment.read_text(encoding="utf-8").splitlines()]
        return [(str(row["key"]), dict(row["answer"])) for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{segment}: damaged judge answers ({error}). Delete the file and rerun.") from error

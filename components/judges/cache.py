"""Answers of judges on disk: one JSON file per question, so that no question is paid for twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from components.artifacts import write_text
from components.contract.record import canonical
from components.errors import ArtifactError


def cache_key(question: dict[str, Any]) -> str:
    """sha256 of everything that decides an answer: contract, model, endpoint, rendered prompt, decoding, sample."""
    return hashlib.sha256(canonical(question).encode("utf-8")).hexdigest()


class AnswerCache:
    """`folder/<first 2 characters>/<key>.json`. Writes are atomic: a killed run leaves whole answers or none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

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
        return answer

    def put(self, key: str, answer: dict[str, Any]) -> None:
        write_text(self._path(key), canonical(answer))

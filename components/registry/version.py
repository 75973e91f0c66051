"""A registered version, as preflow sees it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

# Tags of a version (and of its run). Everything else in `tags` is written by the registration step for people to read.
IDENTITY = "preflow.identity"
CONTENT_ID = "preflow.content_id"
GATE = "gate.status"  # pass | refused
PASSED, REFUSED = "pass", "refused"


@dataclass(frozen=True)
class VersionInfo:
    """One version of a registered model. `content_id` is the DVC hash of the policy folder it holds."""

    name: str
    version: int
    aliases: tuple[str, ...]
    identity: str
    content_id: str
    gate: str
    run_id: str
    created: str
    description: str
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        return f"{self.name} version {self.version}"


def version_info(raw: Any, aliases: Iterable[str]) -> VersionInfo:
    """From MLflow's `ModelVersion`. The aliases come from the registered model: a search leaves them empty."""
    tags = dict(raw.tags)
    return VersionInfo(
        name=raw.name,
        version=int(raw.version),
        aliases=tuple(sorted(aliases)),
        identity=tags.get(IDENTITY, ""),
        content_id=tags.get(CONTENT_ID, ""),
        gate=tags.get(GATE, ""),
        run_id=raw.run_id or "",
        created=datetime.fromtimestamp(raw.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        description=raw.description or "",
        tags=tags,
    )

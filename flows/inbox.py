"""New feedback comes in: a file is copied into the inbox and an event tells the deployments that wait for it."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from components.artifacts import content_id, replace
from components.errors import ArtifactError

EVENT = "preflow.feedback.added"


def add_feedback(file: Path, inbox: Path) -> Path:
    """Copy a file into the inbox under a name that its content decides (adding it twice changes nothing)."""
    if not file.is_file():
        raise ArtifactError(f"{file}: no such file. Pass a file of feedback in a known format.")
    target = inbox / f"{content_id(file)[:12]}-{file.name}"
    if not target.exists():
        inbox.mkdir(parents=True, exist_ok=True)
        temporary = inbox / f".{target.name}.tmp-{uuid.uuid4().hex[:8]}"
        shutil.copyfile(file, temporary)
        replace(temporary, target)
    return target


def announce(inbox: Path) -> None:
    """Emit the event on the configured Prefect server."""
    from prefect.events import emit_event
    from prefect.events.worker import EventsWorker

    emit_event(EVENT, resource={"prefect.resource.id": f"preflow.inbox.{inbox}"})
    EventsWorker.drain_all(timeout=10)

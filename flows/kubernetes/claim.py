"""Whose the Job of a step is: one that runs already is adopted or joined, else one is submitted; its driver gives
signs of life on it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.kubernetes import status
from flows.kubernetes.api import Api, Document, Exists, Refused, Terminating
from flows.kubernetes.cluster import Cluster
from flows.kubernetes.failures import JobVanished
from flows.kubernetes.render import ATTEMPT, DRIVER, RENEWED, render, selector
from flows.runner import Emit, Job
from flows.server import driver_is_dead, driver_tag

BEAT = 30.0  # seconds between two signs of life of a driver, written on its Job
SILENT = 4 * BEAT  # a driver that has not been heard of for so long has died: another one takes over
CONVENIENCE = {"spec.ttlSecondsAfterFinished"}  # what an old server may drop: the sweeper does it instead


class Claim:
    """The Job of one step, and whether it is this driver's to end (`mine`) or another run's."""

    def __init__(
        self, api: Api, cluster: Cluster, job: Job, log_file: Path, emit: Emit, facts: Mapping[str, str]
    ) -> None:
        self.api, self.cluster, self.job, self.log_file = api, cluster, job, log_file
        self.emit, self.facts = emit, facts
        self.driver = driver_tag()
        self.mine = True

    def obtain(self) -> Document:
        """The Job of this very step: the one that runs, of a flow that crashed or of another run, else a new one."""
        return self._adopt() or self.submit()

    def _adopt(self) -> Document | None:
        running = [job for job in self._known() if status.runs(job)]
        if not running:
            return None
        document = max(running, key=_attempt)
        name = document["metadata"]["name"]
        self.mine = self.abandoned(document)
        if self.mine:
            self.renew(name)
            self.emit(f"adopted Job {name}: it runs already, and the flow that started it is gone")
        else:
            self.emit(f"joined Job {name}: another run has started this very step and is waiting for it")
        return document

    def _known(self) -> list[Document]:
        return self.api.jobs(selector(self.job.identity))[0]

    def submit(self) -> Document:
        """A new Job, unless another run is faster. Raises Refused, Denied, JobVanished, Unreachable."""
        until = time.monotonic() + 120
        while True:
            number = max(map(_attempt, self._known()), default=0) + 1
            document = render(self.job, self.cluster, number, driver=self.driver, facts=self.facts)[0]
            document["metadata"]["annotations"][RENEWED] = now()
            try:
                check_taken(document, self.api.create_job(document, dry_run=True), self.api)
                made = self.api.create_job(document)
                break
            except Terminating as error:
                what = f"namespace {self.api.namespace} is being deleted"
                raise JobVanished(self.job.step, what, self.log_file) from error
            except Exists:  # another run was faster, or a deleted one is still going away
                if time.monotonic() > until:
                    raise
                if adopted := self._adopt():
                    return adopted
                time.sleep(1.0)
        self.emit(f"submitted Job {made['metadata']['name']} (attempt {number}) to {self.api.namespace}")
        return made

    def serve(self, document: Document) -> None:
        """The Service of a gang, which goes when its Job goes; made again where a driver died before it made it."""
        for service in render(self.job, self.cluster, _attempt(document))[1:]:
            service["metadata"]["ownerReferences"] = [_owner(document)]
            with suppress(Exists):
                self.api.create_service(service)

    def keep(self, document: Document) -> None:
        """A sign of life; a Job whose driver has died is taken over."""
        name = document["metadata"]["name"]
        if not self.mine and self.abandoned(document):
            self.mine = True
            self.emit(f"took over Job {name}: the run that started it is gone")
        if self.mine:
            self.renew(name)

    def abandoned(self, document: Document) -> bool:
        """Nobody waits for this Job: its driver was this process, has died, or has been silent for too long."""
        notes = document["metadata"].get("annotations", {})
        driver = notes.get(DRIVER, "")
        return driver == self.driver or driver_is_dead([driver]) or age(notes.get(RENEWED, "")) > SILENT

    def renew(self, name: str) -> None:
        self.api.annotate_job(name, {RENEWED: now(), DRIVER: self.driver})


def check_taken(sent: Document, taken: Document, api: Api) -> None:
    """The server must know every field that matters: an old one drops what it does not know. Raises Refused."""
    gone = [path for path in status.dropped(sent, taken) if path not in CONVENIENCE]
    if gone:
        major, minor = api.version
        raise Refused(
            f"kubernetes {api.host}: the server (version {major}.{minor}) drops {', '.join(gone)} of Job "
            f"{sent['metadata']['name']}, so it would run as something else. Use a server of version 1.24 or newer, or "
            "run this step in one pod and without a queue."
        )


def _attempt(job: Document) -> int:
    return int(job["metadata"]["labels"].get(ATTEMPT, 0))


def _owner(job: Document) -> dict[str, Any]:
    facts = job["metadata"]
    return {"apiVersion": "batch/v1", "kind": "Job", "name": facts["name"], "uid": facts["uid"], "controller": True}


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def age(stamp: str) -> float:
    """Seconds since a time that a driver wrote; infinite if none was written."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()
    except (ValueError, TypeError):
        return float("inf")

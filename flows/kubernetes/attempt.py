"""One attempt of a step: its Job is submitted or adopted, watched to its end, and never left behind."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from components.errors import PreflowError
from flows.kubernetes import status
from flows.kubernetes.api import Api, Document, Exists, Refused, Terminating, Unreachable
from flows.kubernetes.cluster import Cluster
from flows.kubernetes.failures import JobFailed, JobVanished, PodLost
from flows.kubernetes.render import ATTEMPT, CONTAINER, DRIVER, RENEWED, render, selector, shape
from flows.kubernetes.watch import Change, Following, Watcher
from flows.runner import Emit, Job, LineSink, RunCancelled
from flows.server import driver_is_dead, driver_tag

T = TypeVar("T")

BEAT = 30.0  # seconds between two signs of life of a driver, written on its Job
SILENT = 4 * BEAT  # a driver that has not been heard of for so long has died: another one takes over
ASK = 5.0  # seconds between two questions whether the run was cancelled, and between two looks at events
CLOSING = 30.0  # seconds for the last lines of a log to arrive
CONVENIENCE = {"spec.ttlSecondsAfterFinished"}  # what an old server may drop: the sweeper does it instead


class Attempt:
    """From submission to end. `run` returns when the Job is complete; it raises JobFailed when it is not."""

    def __init__(
        self,
        api: Api,
        cluster: Cluster,
        job: Job,
        log_file: Path,
        emit: Emit,
        cancelled: Callable[[], bool],
        facts: Mapping[str, str],
    ) -> None:
        self.api, self.cluster, self.job, self.log_file = api, cluster, job, log_file
        self.emit, self.cancelled, self.facts = emit, cancelled, facts
        self.driver = driver_tag()
        self.gang = shape(job, cluster).gang
        self.changes: queue.Queue[Change | PreflowError] = queue.Queue()
        self.document: Document | None = None
        self.pods: dict[str, Document] = {}  # every pod that was seen, by uid
        self.there: set[str] = set()  # the uids of those that still are
        self.released: set[str] = set()  # those that a queue took away: they are no loss, others come for them
        self.followers: dict[str, Following] = {}
        self.mine = True
        self._said = ""
        self._stuck_since: dict[type[JobFailed], float] = {}
        self._due: dict[str, float] = {}
        self._events: list[Document] = []

    def run(self) -> None:
        document = self._patiently(lambda: self._adopt() or self._submit())
        self.document, self.name, self.uid = document, document["metadata"]["name"], document["metadata"]["uid"]
        with ExitStack() as stack:
            log = stack.enter_context(self.log_file.open("a", encoding="utf-8", buffering=1))
            self.sink = LineSink(log.write, self.emit)
            patience = 60 * self.cluster.patience.unreachable_minutes
            for kind in ("jobs", "pods"):
                watcher = Watcher(self.api, kind, selector(self.job.identity), self.changes, patience)
                stack.callback(watcher.stop)
                watcher.start()
            try:
                self._patiently(lambda: self._serve(document))
                self._wait()
            except Unreachable:
                raise  # the Job goes on: a retry, or a rerun, adopts it
            except BaseException:
                self._end()
                raise
            self._close_logs()
        self._judge()

    def _patiently(self, call: Callable[[], T]) -> T:
        """What the API server answers, as soon as it answers. Raises Unreachable after the profile's patience."""
        until = time.monotonic() + 60 * self.cluster.patience.unreachable_minutes
        while True:
            try:
                return call()
            except Unreachable:
                if time.monotonic() > until or self.cancelled():
                    raise
                time.sleep(2.0)

    # ---- submitting

    def _adopt(self) -> Document | None:
        """The Job of this very step that is still running: of a flow that crashed, or of another run that shares it."""
        running = [job for job in self._known() if status.runs(job)]
        if not running:
            return None
        document = max(running, key=_attempt)
        name = document["metadata"]["name"]
        self.mine = self._abandoned(document)
        if self.mine:
            self._renew(name)
            self.emit(f"adopted Job {name}: it runs already, and the flow that started it is gone")
        else:
            self.emit(f"joined Job {name}: another run has started this very step and is waiting for it")
        return document

    def _known(self) -> list[Document]:
        return self.api.jobs(selector(self.job.identity))[0]

    def _submit(self) -> Document:
        until = time.monotonic() + 120
        while True:
            number = max(map(_attempt, self._known()), default=0) + 1
            document = render(self.job, self.cluster, number, driver=self.driver, facts=self.facts)[0]
            document["metadata"]["annotations"][RENEWED] = _now()
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

    def _serve(self, document: Document) -> None:
        """The Service of a gang, which goes when its Job goes; made again where a driver died before it made it."""
        for service in render(self.job, self.cluster, _attempt(document))[1:]:
            service["metadata"]["ownerReferences"] = [_owner(document)]
            with suppress(Exists):
                self.api.create_service(service)

    # ---- waiting

    def _wait(self) -> None:
        """Returns when the Job has ended. Raises JobFailed for one that will never run, RunCancelled, Unreachable."""
        while True:
            self._take()
            if self.document is None:
                raise JobVanished(self.job.step, f"Job {self.name} was deleted by somebody else", self.log_file)
            if self._is_due("cancel", ASK) and self.cancelled():
                became = "is deleted" if self.mine else "goes on: another run waits for it, too"
                raise RunCancelled(f"step {self.job.step}: the run was cancelled; Job {self.name} {became}.")
            if status.finished(self.document):
                return
            self._beat()
            self._look()
            self._follow()
            if status.suspended(self.document):
                self.released |= set(self.pods)
            elif self.gang and (why := status.lost(self._counted())):
                raise PodLost(self.job.step, f"{why}, and the other pods of the gang wait for it", self.log_file)

    def _counted(self) -> list[Document]:
        return [pod for uid, pod in self.pods.items() if uid not in self.released]

    def _take(self) -> None:
        """What the watchers have seen, waiting a second for the first of it."""
        try:
            change = self.changes.get(timeout=1.0)
        except queue.Empty:
            return
        while True:
            if isinstance(change, PreflowError):
                raise change
            self._apply(change)
            try:
                change = self.changes.get_nowait()
            except queue.Empty:
                return

    def _apply(self, change: Change) -> None:
        objects = {item["metadata"]["uid"]: item for item in change.objects}
        if change.kind == "jobs":
            if self.uid in objects:
                self.document = None if change.deleted else objects[self.uid]
            elif change.whole:
                self.document = None
            return
        objects = {uid: pod for uid, pod in objects.items() if _owned(pod, self.uid)}
        self.pods |= objects
        if change.whole:
            self.there = set(objects)
        elif change.deleted:
            self.there -= set(objects)
            for pod in objects.values():
                pod["metadata"].setdefault("deletionTimestamp", _now())
        else:
            self.there |= set(objects)

    def _look(self) -> None:
        """Say what is going on when that has changed; give up on what does not cure itself."""
        there = [self.pods[uid] for uid in sorted(self.there)]
        found = status.situation(self.document, there, self._events)
        if found.phase not in ("running", "ended", "gone") and self._is_due("events", ASK):
            with suppress(Unreachable):  # the watchers know how long a server may be away
                uids = [self.uid, *sorted(self.there)]
                self._events = [event for uid in uids for event in self.api.events(uid)]
            found = status.situation(self.document, there, self._events)
        if found.text != self._said:
            self._said = found.text
            self.emit(found.text)
        self._stuck_since = {kind: at for kind, at in self._stuck_since.items() if kind is found.stuck}
        if found.stuck is not None:
            began = self._stuck_since.setdefault(found.stuck, time.monotonic())
            if time.monotonic() - began >= 60 * _limit(found.stuck, self.cluster):
                raise found.stuck(self.job.step, found.text, self.log_file, _remedy(found.stuck, self.cluster))

    def _follow(self) -> None:
        """The log of the first pod of a gang, or of the only one, into the run's log."""
        for uid in self.there - set(self.followers):
            pod = self.pods[uid]
            if pod.get("status", {}).get("phase") != "Pending" and status.index(pod) == 0:
                self.followers[uid] = Following(self.api, pod["metadata"]["name"], CONTAINER, self.sink)
                self.followers[uid].start()

    def _beat(self) -> None:
        if not self._is_due("beat", BEAT):
            return
        assert self.document is not None
        if not self.mine and self._abandoned(self.document):
            self.mine = True
            self.emit(f"took over Job {self.name}: the run that started it is gone")
        if self.mine:
            with suppress(Unreachable):
                self._renew(self.name)

    def _abandoned(self, document: Document) -> bool:
        """Nobody waits for this Job: its driver was this process, has died, or has been silent for too long."""
        notes = document["metadata"].get("annotations", {})
        driver = notes.get(DRIVER, "")
        return driver == self.driver or driver_is_dead([driver]) or age(notes.get(RENEWED, "")) > SILENT

    def _renew(self, name: str) -> None:
        self.api.annotate_job(name, {RENEWED: _now(), DRIVER: self.driver})

    def _is_due(self, what: str, seconds: float) -> bool:
        if time.monotonic() < self._due.get(what, 0.0):
            return False
        self._due[what] = time.monotonic() + seconds
        return True

    # ---- ending

    def _judge(self) -> None:
        """Raises what a Job that is not Complete died of."""
        assert self.document is not None
        if status.finished(self.document) == "Complete":
            return
        for uid in sorted(self.there, key=lambda uid: status.index(self.pods[uid])):
            self._append_log(self.pods[uid])
        tail = list(self.sink.tail)
        raise status.failure(self.job.step, self.document, self._counted(), self.cluster, self.log_file, tail)

    def _append_log(self, pod: Document) -> None:
        """The last lines of a pod whose log was not followed, for the run folder."""
        if pod["metadata"]["uid"] in self.followers:
            return
        lines = self.api.log_tail(pod["metadata"]["name"], CONTAINER)
        with self.log_file.open("a", encoding="utf-8") as log:
            log.writelines(f"[{pod['metadata']['name']}] {line}\n" for line in lines)
        self.sink.tail.extend(line for line in lines if line.startswith("error: "))

    def _close_logs(self) -> None:
        """Read the logs to their ends. The Job's end may have been seen before its pods: look at them once more."""
        pods = self._patiently(lambda: self.api.pods(selector(self.job.identity)))[0]
        self._apply(Change("pods", tuple(pods), whole=True))
        self._follow()
        for follower in self.followers.values():
            follower.ended.set()
        until = time.monotonic() + CLOSING
        for follower in self.followers.values():
            follower.join(max(0.0, until - time.monotonic()))

    def _end(self) -> None:
        """Delete the Job and its pods, unless it belongs to another run. Pods get the time a checkpoint takes."""
        if not self.mine or self.document is None:
            return
        try:
            self.api.delete_job(self.name, self.uid)
            self.emit(f"deleted Job {self.name}")
        except PreflowError as error:
            self.emit(f"Job {self.name} could not be deleted ({error}). `preflow k8s sweep` does it later.")


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


def _owned(pod: Document, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", []))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def age(stamp: str) -> float:
    """Seconds since a time that a driver wrote; infinite if none was written."""
    try:
        return (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()
    except (ValueError, TypeError):
        return float("inf")


def _limit(kind: type[JobFailed], cluster: Cluster) -> float:
    """Minutes that a condition may last."""
    patience = cluster.patience
    return {
        "ImagePullFailed": patience.pull_minutes,
        "PodMisconfigured": patience.config_minutes,
    }.get(kind.__name__, patience.unschedulable_minutes)


def _remedy(kind: type[JobFailed], cluster: Cluster) -> str:
    if kind.__name__ != "Unschedulable":
        return ""
    return (
        f"Ask for less under steps in k8s/profiles/{cluster.name}.yaml, check its placement and gpu.resource, add "
        "nodes, or raise patience.unschedulable_minutes."
    )

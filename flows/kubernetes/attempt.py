"""One attempt of a step: its Job is watched to its end, and never left behind."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from components.errors import PreflowError
from flows.kubernetes import status
from flows.kubernetes.api import Api, Document, Unreachable
from flows.kubernetes.claim import BEAT, Claim, now
from flows.kubernetes.cluster import Cluster
from flows.kubernetes.failures import JobFailed, JobVanished, PodLost
from flows.kubernetes.render import CONTAINER, selector, shape
from flows.kubernetes.watch import Change, Following, Watcher
from flows.runner import Emit, Job, LineSink, RunCancelled

T = TypeVar("T")

ASK = 5.0  # seconds between two questions whether the run was cancelled, and between two looks at events
CLOSING = 30.0  # seconds for the last lines of a log to arrive


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
        self.emit, self.cancelled = emit, cancelled
        self.claim = Claim(api, cluster, job, log_file, emit, facts)
        self.sink = LineSink(self._keep, emit)
        self.name = self.uid = ""
        self.gang = shape(job, cluster).gang
        self.changes: queue.Queue[Change | PreflowError] = queue.Queue()
        self.document: Document | None = None
        self.pods: dict[str, Document] = {}  # every pod that was seen, by uid
        self.there: set[str] = set()  # the uids of those that still are
        self.released: set[str] = set()  # those that a queue took away: they are no loss, others come for them
        self.followers: dict[str, Following] = {}
        self._said = ""
        self._stuck_since: dict[type[JobFailed], float] = {}
        self._due: dict[str, float] = {}
        self._events: list[Document] = []

    def run(self) -> None:
        self.log_file.touch()  # a step may say nothing
        document = self._patiently(self.claim.obtain)
        self.document, self.name, self.uid = document, document["metadata"]["name"], document["metadata"]["uid"]
        with ExitStack() as stack:
            patience = 60 * self.cluster.patience.unreachable_minutes
            for kind in ("jobs", "pods"):
                watcher = Watcher(self.api, kind, selector(self.job.identity), self.changes, patience)
                stack.callback(watcher.stop)
                watcher.start()
            try:
                self._patiently(lambda: self.claim.serve(document))
                self._wait()
            except Unreachable:
                raise  # the Job goes on: a retry, or a rerun, adopts it
            except BaseException:
                self._end()
                raise
            self._close_logs()
        self._judge()

    def _keep(self, line: str) -> None:
        """Into the log file at once: a person reads it while it grows."""
        with self.log_file.open("a", encoding="utf-8") as log:
            log.write(line)

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

    # ---- waiting

    def _wait(self) -> None:
        """Returns when the Job has ended. Raises JobFailed for one that will never run, RunCancelled, Unreachable."""
        while True:
            self._take()
            if self.document is None:
                raise JobVanished(self.job.step, f"Job {self.name} was deleted by somebody else", self.log_file)
            if self._is_due("cancel", ASK) and self.cancelled():
                became = "is deleted" if self.claim.mine else "goes on: another run waits for it, too"
                raise RunCancelled(f"step {self.job.step}: the run was cancelled; Job {self.name} {became}.")
            if status.finished(self.document):
                return
            if self._is_due("beat", BEAT):
                with suppress(Unreachable):
                    self.claim.keep(self.document)
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
                pod["metadata"].setdefault("deletionTimestamp", now())
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
        if not self.claim.mine or self.document is None:
            return
        try:
            self.api.delete_job(self.name, self.uid)
            self.emit(f"deleted Job {self.name}")
        except PreflowError as error:
            self.emit(f"Job {self.name} could not be deleted ({error}). `preflow k8s sweep` does it later.")


def _owned(pod: Document, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", []))


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

"""What the runner does with a gang, on a server in memory: the control plane of the cluster tests knows no gangs."""

from __future__ import annotations

import copy
import queue
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.kubernetes.api import Api, Denied, Exists, Unreachable
from flows.kubernetes.attempt import Attempt
from flows.kubernetes.cluster import Cluster, Gpu, Patience
from flows.kubernetes.failures import PodLost, StepCrashed
from flows.kubernetes.runner import KubernetesRunner
from flows.runner import Job
from tests.flows.kubernetes.documents import CLUSTER, terminated, toy, true
from tests.flows.project import REPO

GANG = replace(CLUSTER, gpu=Gpu(per_pod=1), patience=Patience(lost_pods=2, unreachable_minutes=0.02))
Document = dict[str, Any]


class Server(Api):
    """Jobs and pods in memory; `play` is called with every Job that is made, and says what becomes of its pods."""

    def __init__(self, play: Callable[[Server, Document], None]) -> None:
        super().__init__(GANG)
        self.play = play
        self.there: dict[str, dict[str, Document]] = {"jobs": {}, "pods": {}}
        self.events_of: dict[str, queue.Queue[Document]] = {"jobs": queue.Queue(), "pods": queue.Queue()}
        self.services: list[Document] = []
        self.deleted: list[str] = []
        self.service_error: Exception | None = None

    def put(self, kind: str, document: Document, change: str = "MODIFIED") -> None:
        document["metadata"]["resourceVersion"] = "1"
        self.there[kind][document["metadata"]["uid"]] = document
        self.events_of[kind].put({"type": change, "object": copy.deepcopy(document)})

    def pod(self, job: Document, index: int, **status: Any) -> Document:
        facts = job["metadata"]
        metadata: Document = {
            "name": f"{facts['name']}-{index}",
            "uid": f"{facts['uid']}-{index}",
            "annotations": {"batch.kubernetes.io/job-completion-index": str(index)},
            "ownerReferences": [{"uid": facts["uid"]}],
        }
        made = {"metadata": metadata, "spec": {"nodeName": f"node-{index}", "containers": [{"name": "step"}]}}
        return {**made, "status": {"phase": "Running", **status}}

    def end(self, job: Document, kind: str, reason: str = "") -> None:
        job["status"] = {"conditions": [true(kind, reason)]}
        self.put("jobs", job)

    def jobs(self, selector: str) -> Any:
        return list(self.there["jobs"].values()), "1"

    def pods(self, selector: str) -> Any:
        return list(self.there["pods"].values()), "1"

    def watch(self, kind: str, selector: str, version: str, seconds: int) -> Iterator[Document]:
        while True:
            try:
                yield self.events_of[kind].get(timeout=0.2)
            except queue.Empty:
                return

    def create_job(self, document: Document, *, dry_run: bool = False) -> Document:
        made = copy.deepcopy(document)
        made["metadata"]["uid"] = uuid.uuid4().hex
        if not dry_run:
            self.put("jobs", made, "ADDED")
            self.play(self, made)
        return made

    def create_service(self, document: Document) -> None:
        if self.service_error is not None:
            raise self.service_error
        if document["metadata"]["name"] in [service["metadata"]["name"] for service in self.services]:
            raise Exists("it is there")
        self.services.append(document)

    def annotate_job(self, name: str, annotations: dict[str, str]) -> Document | None:
        return None

    def delete_job(self, name: str, uid: str = "") -> None:
        self.deleted.append(name)
        job = self.there["jobs"].pop(uid)
        self.events_of["jobs"].put({"type": "DELETED", "object": job})
        for key in [key for key, pod in self.there["pods"].items() if pod["metadata"]["name"].startswith(name)]:
            self.there["pods"].pop(key)

    def events(self, uid: str) -> list[Document]:
        return []

    def follow_log(self, pod: str, container: str, seconds: int = 0) -> Iterator[str]:
        yield "2026-11-24T00:00:00.000000000Z a line"

    def log_tail(self, pod: str, container: str, lines: int = 60) -> list[str]:
        return ["the last line"]


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Job:
    monkeypatch.chdir(REPO)
    return toy(processes=2, device="cuda")


def run(server: Server, job: Job, folder: Path, cluster: Cluster = GANG) -> list[str]:
    """By the runner's own loop over attempts; returns what it said."""
    lines: list[str] = []
    runner = KubernetesRunner.__new__(KubernetesRunner)  # without a remote: nothing here needs one
    runner.api, runner.cluster, runner.facts = server, cluster, {}
    runner.run(job, folder / "log", lines.append, lambda: False)
    return lines


def both_run(server: Server, made: Document) -> None:
    for index in range(2):
        server.put("pods", server.pod(made, index), "ADDED")


def done(server: Server, made: Document) -> None:
    for index in range(2):
        state = [{"name": "step", "state": terminated(0, "Completed")}]
        server.put("pods", server.pod(made, index, phase="Succeeded", containerStatuses=state))
    server.end(made, "Complete")


def test_a_lost_pod_restarts_the_whole_gang_as_the_next_attempt(job: Job, tmp_path: Path) -> None:
    attempts: list[str] = []

    def play(server: Server, made: Document) -> None:
        attempts.append(made["metadata"]["name"][-2:])
        both_run(server, made)
        if len(attempts) < 3:  # the node of the second pod goes away; the Job itself goes on
            gone = server.pod(made, 1)
            gone["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z"
            server.put("pods", gone)
        else:
            done(server, made)

    server = Server(play)
    lines = run(server, job, tmp_path)
    assert len(attempts) == 3
    assert len(server.deleted) == 2, "the pods that wait for the lost one are ended, too"
    assert sum("not counted as a failure" in line for line in lines) == 2


def test_a_gang_that_its_queue_suspends_is_not_lost(job: Job, tmp_path: Path) -> None:
    """Kueue makes room for others: the pods go together and come back together, and it is the same attempt."""

    def play(server: Server, made: Document) -> None:
        both_run(server, made)
        server.put("jobs", {**made, "spec": {**made["spec"], "suspend": True}})

    def again(server: Server) -> None:
        (made,) = server.there["jobs"].values()
        for pod in list(server.there["pods"].values()):
            pod["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z"
            server.put("pods", pod)
        made = {**made, "spec": {**made["spec"], "suspend": False}}
        server.put("jobs", made)
        for pod in (server.pod(made, 0), server.pod(made, 1)):
            pod["metadata"]["uid"] += "-again"
            server.put("pods", pod, "ADDED")

    server = Server(play)
    lines: list[str] = []
    resumed: list[bool] = []

    def cancelled() -> bool:  # asked again and again: the course of things
        if resumed:
            (made,) = server.there["jobs"].values()
            server.end(made, "Complete")
        elif any("queued" in line for line in lines):
            resumed.append(True)
            again(server)
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.kubernetes.attempt.ASK", 0.1)
        Attempt(server, GANG, job, tmp_path / "log", lines.append, cancelled, {}).run()
    assert resumed
    assert not server.deleted


def test_patience_with_lost_pods_ends(job: Job, tmp_path: Path) -> None:
    def play(server: Server, made: Document) -> None:
        server.put("pods", server.pod(made, 0, conditions=[true("DisruptionTarget", "PreemptionByScheduler")]))

    server = Server(play)
    with pytest.raises(PodLost, match="PreemptionByScheduler"):
        run(server, job, tmp_path)
    assert len(server.deleted) == 3


def test_a_crash_in_a_gang_is_a_crash_although_the_others_are_taken_away(job: Job, tmp_path: Path) -> None:
    def play(server: Server, made: Document) -> None:
        both_run(server, made)
        state = [{"name": "step", "state": terminated(1)}]
        server.put("pods", server.pod(made, 0, phase="Failed", containerStatuses=state))
        taken = server.pod(made, 1)
        taken["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z"
        server.put("pods", taken)
        server.end(made, "Failed", "BackoffLimitExceeded")

    server = Server(play)
    with pytest.raises(StepCrashed):
        run(server, job, tmp_path)
    assert not server.deleted, "a finished Job stays to be looked at"


def test_a_gang_has_a_service_that_goes_with_its_job(job: Job, tmp_path: Path) -> None:
    server = Server(done)
    run(server, job, tmp_path)
    (service,) = server.services
    (made,) = server.there["jobs"].values()
    (owner,) = service["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("Job", made["metadata"]["uid"])


def test_a_driver_that_died_before_the_service_leaves_it_to_the_next(job: Job, tmp_path: Path) -> None:
    """The Job is there, adopted, and its pods look for names that nobody has made yet."""
    server = Server(both_run)
    Attempt(server, GANG, job, tmp_path / "log", print, lambda: False, {}).claim.submit()
    assert not server.services
    (made,) = server.there["jobs"].values()
    done(server, made)
    made["status"] = {}  # adopted while it runs; its end is seen by the watch
    run(server, job, tmp_path)
    assert len(server.services) == 1


def test_a_service_that_may_not_be_made_ends_the_job(job: Job, tmp_path: Path) -> None:
    server = Server(both_run)
    server.service_error = Denied("create services: not allowed.")
    with pytest.raises(Denied):
        run(server, job, tmp_path)
    assert len(server.deleted) == 1


def test_a_server_that_is_away_when_a_job_is_made_is_waited_for(job: Job, tmp_path: Path) -> None:
    server = Server(done)
    real, failures = server.jobs, [Unreachable("away")]

    def jobs(selector: str) -> Any:
        if failures:
            raise failures.pop()
        return real(selector)

    server.jobs = jobs  # type: ignore[method-assign]
    run(server, job, tmp_path)
    assert not failures

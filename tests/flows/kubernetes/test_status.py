"""What the documents of a Job mean: its situation while it runs, the cause when it has failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flows.kubernetes import failures, status
from flows.kubernetes.failures import JobFailed
from tests.flows.kubernetes.documents import CLUSTER, LOG, event, job, pod, recorded, terminated, toy, true

FAILED = true("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")


def failure(document: dict[str, Any], pods: list[dict[str, Any]], tail: tuple[str, ...] = ()) -> JobFailed:
    return status.failure("toy", document, pods, CLUSTER, LOG, tail)


# ---- documents of a 1.34 server


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("fails", failures.BadData, "exit code 3"),  # the step's contract: 3 is bad data
        ("fatal", failures.StepCrashed, "exit code 42"),
        ("oom", failures.OutOfMemory, "limit of 64Mi"),
        ("late", failures.DeadlineExceeded, "longer than 0 minutes"),  # its pods are gone, the Job says it
        ("perindex", failures.StepCrashed, "exit code 1"),
    ],
)
def test_recorded_failures_are_named(name: str, kind: type[JobFailed], words: str) -> None:
    document, pods = recorded(name)
    assert status.finished(document) == "Failed"
    found = failure(document, pods)
    assert type(found) is kind
    assert words in str(found)
    assert str(found).startswith(f"step toy: {kind.__name__}: ")


@pytest.mark.parametrize("name", ["evicted", "indexed"])
def test_recorded_successes_are_complete(name: str) -> None:
    document, _ = recorded(name)
    assert status.finished(document) == "Complete"
    assert not status.runs(document)


def test_a_failure_that_is_only_announced_is_not_the_end() -> None:
    """From 1.31 FailureTarget comes first, while pods still end; Failed comes when they have."""
    document, _ = recorded("fails")
    conditions = document["status"]["conditions"]
    document["status"]["conditions"] = [c for c in conditions if c["type"] == "FailureTarget"]
    assert conditions[0]["type"] == "FailureTarget"
    assert status.finished(document) == ""
    document["status"]["conditions"] = [{**true("Failed"), "status": "False"}]
    assert status.finished(document) == ""


# ---- how it ended


@pytest.mark.parametrize(
    ("what", "kind"),
    [
        (pod("Failed", terminated(2)), failures.UserMistake),
        (pod("Failed", terminated(3)), failures.BadData),
        (pod("Failed", terminated(1)), failures.StepCrashed),
        (pod("Failed", terminated(137)), failures.StepCrashed),  # SIGKILL, and nobody says why
        (pod("Failed", terminated(137, "OOMKilled")), failures.OutOfMemory),
        (pod("Failed", terminated(143), deleted=True), failures.PodLost),
        (pod("Failed", reason="Evicted", message="The node was low on resource: memory."), failures.PodLost),
        (pod("Failed", reason="Evicted", message='Usage of EmptyDir volume "work" exceeds the limit "1Gi".'),
         failures.OutOfDisk),
        (pod("Failed", reason="Evicted", message="Pod ephemeral local storage usage exceeds the total limit"),
         failures.OutOfDisk),
        (pod("Failed", reason="Preempting", message="Preempted in order to admit critical pod"), failures.PodLost),
        (pod("Failed", reason="NodeLost"), failures.PodLost),
        (pod("Failed", reason="OutOfnvidia.com/gpu"), failures.PodLost),
        (pod("Failed", terminated(143), conditions=[true("DisruptionTarget", "PreemptionByScheduler")]),
         failures.PodLost),
        (pod("Running", {"running": {}}), failures.PodLost),  # its node has gone, nobody could say that it ended
        (pod("Failed", terminated(128, "StartError", "exec: python: not found")), failures.PodMisconfigured),
    ],
)  # fmt: skip
def test_every_end_of_a_pod_has_a_name(what: dict[str, Any], kind: type[JobFailed]) -> None:
    assert type(failure(job(FAILED), [what])) is kind


def test_no_pod_left_means_lost_not_crashed() -> None:
    assert type(failure(job(FAILED), [])) is failures.PodLost


def test_the_steps_own_words_win_over_the_launchers_exit_code() -> None:
    """torchrun ends with 1 whatever its workers ended with; the termination message knows better."""
    note = json.dumps({"error": "ParamsError", "exit_code": 2, "message": "params.x: wrong (got 1). Mend it."})
    found = failure(job(FAILED), [pod("Failed", terminated(1, message=note))])
    assert type(found) is failures.UserMistake
    assert "params.x: wrong (got 1)" in str(found)
    assert not found.retryable
    assert found.exit_code == 2


def test_a_termination_message_that_is_no_json_is_only_text() -> None:
    assert status.said({"message": "boom\n"}) == {}
    assert status.said({"message": "[1]"}) == {}
    assert status.said({}) == {}
    assert type(failure(job(FAILED), [pod("Failed", terminated(1, message="boom"))])) is failures.StepCrashed


def test_without_last_words_the_log_says_the_cause() -> None:
    found = failure(job(FAILED), [pod("Failed", terminated(2))], ("noise", "error: data: WHAT. REMEDY.", "more"))
    assert "data: WHAT. REMEDY." in str(found)
    crashed = failure(job(FAILED), [pod("Failed", terminated(139))], ("loading", "Segmentation fault"))
    assert "exit code 139. Last line: Segmentation fault" in str(crashed)


def test_out_of_memory_says_what_was_used_and_what_to_change() -> None:
    note = json.dumps({"memory_bytes": 31 * 2**30})
    found = str(failure(job(FAILED), [pod("Failed", terminated(137, "OOMKilled", note))]))
    assert "31.00 GiB" in found
    assert "killed at its limit of 32Gi" in found
    assert "steps.toy.memory in k8s/profiles/here.yaml (now 32Gi)" in found
    assert "micro_batch_tokens" in found


def test_a_gpu_that_runs_out_of_memory_is_no_crash_to_be_repeated() -> None:
    note = json.dumps({"error": "OutOfMemoryError", "exit_code": 1, "message": "CUDA out of memory."})
    found = failure(job(FAILED), [pod("Failed", terminated(1, message=note))])
    assert type(found) is failures.OutOfMemory
    assert "CUDA out of memory" in str(found)
    assert not found.retryable


def test_in_a_gang_the_lost_pod_is_the_cause_not_its_neighbours_crash() -> None:
    crashed = pod("Failed", terminated(1), index=0)
    evicted = pod("Failed", reason="Evicted", message="The node was low on resource: memory.", index=1)
    fine = pod("Succeeded", terminated(0, "Completed"), index=2)
    assert type(failure(job(FAILED), [crashed, fine, evicted])) is failures.PodLost
    assert type(failure(job(FAILED), [crashed, fine])) is failures.StepCrashed


def test_in_a_gang_the_pods_that_were_ended_because_of_a_crash_are_not_its_cause() -> None:
    """The Job controller deletes the other pods: that is no lost pod, and must not be tried again for nothing."""
    crashed = pod("Failed", terminated(1), index=0)
    ended = pod("Failed", terminated(143), index=1, deleted=True)
    still = pod("Running", {"running": {}}, index=2, deleted=True)
    for pods in ([crashed, ended, still], [still, ended, crashed]):
        assert type(failure(job(FAILED), pods)) is failures.StepCrashed
        assert status.lost(pods) == ""


def test_a_gang_notices_a_pod_that_went_away() -> None:
    running = pod("Running", {"running": {}})
    assert status.lost([running]) == ""
    assert "toy-1" in status.lost([running, pod("Running", {"running": {}}, index=1, deleted=True)])
    assert "Evicted" in status.lost([running, pod("Failed", index=1, reason="Evicted")])


def test_a_deadline_beats_what_its_pods_say() -> None:
    late = true("Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    found = failure(job(late, activeDeadlineSeconds=7200), [pod("Failed", terminated(143), deleted=True)])
    assert type(found) is failures.DeadlineExceeded
    assert "120 minutes" in str(found)
    assert "steps.toy.minutes in k8s/profiles/here.yaml" in str(found)


# ---- while it runs


def test_a_suspended_job_is_queued_not_failed() -> None:
    for document in (job(suspend=True), job(true("Suspended", "JobSuspended"))):
        found = status.situation(document, [], [event("Pending", "couldn't assign flavors: insufficient unused quota")])
        assert found.phase == "queued"
        assert found.stuck is None
        assert "insufficient unused quota" in found.text


def test_a_job_that_is_gone_or_going_is_gone() -> None:
    assert status.situation(None, [], []).phase == "gone"
    document = job()
    document["metadata"]["deletionTimestamp"] = "2026-11-24T00:00:00Z"
    assert status.situation(document, [], []).phase == "gone"
    assert not status.runs(document)


@pytest.mark.parametrize(
    ("what", "events", "phase", "stuck", "words"),
    [
        (pod("Pending", node="", conditions=[{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
             "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}]),
         [], "pending", failures.Unschedulable, "Insufficient nvidia.com/gpu"),
        (pod("Pending", {"waiting": {"reason": "ErrImagePull", "message": "not found"}}),
         [], "pulling", failures.ImagePullFailed, "ErrImagePull: not found"),
        (pod("Pending", {"waiting": {"reason": "ImagePullBackOff"}}), [], "pulling", failures.ImagePullFailed, "toy-0"),
        (pod("Pending", {"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "x" not found'}}),
         [], "starting", failures.PodMisconfigured, 'secret "x" not found'),
        (pod("Pending", {"waiting": {"reason": "ContainerCreating"}}),
         [event("Pulling", "Pulling image reg/x", "pod-0")], "pulling", None, "Pulling image reg/x"),
        (pod("Pending", {"waiting": {"reason": "ContainerCreating"}}),
         [event("FailedMount", "claim not found", "pod-0")], "starting", failures.PodMisconfigured, "claim not found"),
        (pod("Pending", {"waiting": {"reason": "ContainerCreating"}}),
         [event("FailedMount", "of another pod", "pod-9")], "starting", None, "starts on n1"),
        (pod("Running", {"running": {}}), [], "running", None, "running on n1"),
    ],
)  # fmt: skip
def test_what_a_pod_waits_for(
    what: dict[str, Any], events: list[dict[str, Any]], phase: str, stuck: type[JobFailed] | None, words: str
) -> None:
    found = status.situation(job(), [what], events)
    assert (found.phase, found.stuck) == (phase, stuck)
    assert words in found.text


def test_a_job_without_a_pod_tells_who_refuses_it() -> None:
    quota = event("FailedCreate", 'pods "x" is forbidden: exceeded quota: gpus, requested: 2, used: 1, limited: 2')
    assert status.situation(job(), [], [quota]).stuck is failures.QuotaExceeded
    policy = event("FailedCreate", 'pods "x" is forbidden: violates PodSecurity "restricted:latest"')
    assert status.situation(job(), [], [policy]).stuck is failures.PodMisconfigured
    assert status.situation(job(), [], []).stuck is None


def test_a_gang_is_as_far_as_its_last_pod() -> None:
    pods = [pod("Running", {"running": {}}), pod("Pending", {"waiting": {"reason": "ErrImagePull"}}, index=1)]
    assert status.situation(job(), pods, []).phase == "pulling"


# ---- an old server


def test_dropped_fields_are_found_and_defaults_are_no_loss() -> None:
    sent = {"spec": {"suspend": True, "completionMode": "Indexed", "x": {}, "list": [{"a": 1, "b": 2}], "none": ""}}
    taken = {"spec": {"parallelism": 1, "list": [{"a": "1"}]}, "status": {}}
    assert status.dropped(sent, taken) == ["spec.suspend", "spec.completionMode", "spec.list[0].b"]
    assert status.dropped(sent, sent) == []


# ---- the errors themselves


def test_every_failure_has_a_remedy_and_only_a_crash_is_tried_again() -> None:
    kinds = JobFailed.__subclasses__()
    assert len(kinds) == 12
    for kind in kinds:
        error = kind(toy().step, "what happened", LOG, "What to do.")
        assert "What to do." in str(error)
        assert str(LOG) in str(error)
        assert error.retryable is (kind is failures.StepCrashed)
    given_by_status = {failures.OutOfMemory, failures.OutOfDisk, failures.DeadlineExceeded, failures.Unschedulable}
    assert {kind for kind in kinds if not kind.remedy} == given_by_status

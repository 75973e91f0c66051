"""What the documents of a Job say: what is going on while it runs, and how it ended. Pure functions of documents."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.kubernetes import failures
from flows.kubernetes.cluster import FOLDER, Cluster
from flows.kubernetes.failures import JobFailed
from flows.kubernetes.render import CONTAINER, INDEX

Document = Mapping[str, Any]

PULL = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
START = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"}
LOST = {"Evicted", "Preempting", "Preempted", "NodeLost", "Shutdown", "Terminated", "NodeShutdown", "NodeAffinity",
        "UnexpectedAdmissionError", "OutOfcpu", "OutOfmemory", "OutOfpods", "ContainerStatusUnknown"}  # fmt: skip
TOO_MUCH_DISK = ("exceeds the limit", "ephemeral local storage usage exceeds", "ephemeral storage limit")


@dataclass(frozen=True)
class Situation:
    """`phase`: queued, pending, pulling, starting, running, ended or gone; `text` is for people.

    `stuck`: what this is if it goes on for too long; None if it may go on.
    """

    phase: str
    text: str
    stuck: type[JobFailed] | None = None


# ---- while it runs


def situation(job: Document | None, pods: Sequence[Document], events: Iterable[Document]) -> Situation:
    """What is going on, from the Job, its pods that are there, and the events about them."""
    if job is None or "deletionTimestamp" in job["metadata"]:
        return Situation("gone", "the Job is being deleted" if job else "the Job is gone")
    if finished(job):
        return Situation("ended", "the Job has ended")
    events = list(events)
    if suspended(job):
        return Situation("queued", f"queued: suspended until there is room{_last(events, ': ')}")
    if not pods:
        return _no_pod(events)
    return max((_pod(pod, events) for pod in pods), key=lambda found: _ORDER[found.phase])


def suspended(job: Document) -> bool:
    """A queue holds it back, or has taken its pods away to start them again later."""
    return _condition(job, "Suspended") or bool(job["spec"].get("suspend"))


_ORDER = {"running": 0, "starting": 1, "pulling": 2, "pending": 3}  # a gang is as far as its last pod


def _no_pod(events: list[Document]) -> Situation:
    for event in reversed(events):
        if event.get("reason") == "FailedCreate":
            message = _text(event)
            stuck = failures.QuotaExceeded if "exceeded quota" in message else failures.PodMisconfigured
            return Situation("pending", f"no pod is made: {message}", stuck)
    return Situation("pending", "waiting for its pod")


def _pod(pod: Document, events: list[Document]) -> Situation:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    if status.get("phase") != "Pending":
        node = pod["spec"].get("nodeName", "?")
        return Situation("running", f"running on {node}: pod {name}")
    scheduled = _find(status.get("conditions"), "PodScheduled")
    if scheduled.get("status") == "False":
        return Situation("pending", f"no node takes pod {name}: {_text(scheduled)}", failures.Unschedulable)
    for container in _containers(pod):
        waiting = container.get("state", {}).get("waiting")
        if not waiting:
            continue
        reason, text = waiting.get("reason", ""), f"pod {name}: {waiting.get('reason')}: {_text(waiting)}"
        if reason in PULL:
            return Situation("pulling", text, failures.ImagePullFailed)
        if reason in START:
            return Situation("starting", text, failures.PodMisconfigured)
    return _by_events(pod, [e for e in events if e.get("involvedObject", {}).get("uid") == pod["metadata"]["uid"]])


def _by_events(pod: Document, events: list[Document]) -> Situation:
    name = pod["metadata"]["name"]
    if "nodeName" not in pod["spec"]:
        return Situation("pending", f"pod {name} waits for a node")
    last = events[-1] if events else {}
    if last.get("reason") in ("FailedMount", "FailedAttachVolume"):
        return Situation("starting", f"pod {name}: {_text(last)}", failures.PodMisconfigured)
    if last.get("reason") == "Pulling":
        return Situation("pulling", f"pod {name}: {_text(last)}")
    return Situation("starting", f"pod {name} starts on {pod['spec']['nodeName']}")


# ---- how it ended


def finished(job: Document) -> str:
    """`Complete` or `Failed` once that is final, else empty. (FailureTarget and the like come first and are not.)"""
    return next((kind for kind in ("Complete", "Failed") if _condition(job, kind)), "")


def runs(job: Document) -> bool:
    """Neither finished nor being deleted."""
    return not finished(job) and "deletionTimestamp" not in job["metadata"]


def failed_at(job: Document) -> str:
    """When it failed, in the server's words."""
    return str(_find(job["status"].get("conditions"), "Failed").get("lastTransitionTime", ""))


_SMALLER = (
    "Less is needed with a smaller micro_batch_tokens of its section (which never changes the result), with "
    "gradient_checkpointing, or with sharded over more processes."
)


def failure(
    step: str, job: Document, pods: Sequence[Document], cluster: Cluster, log: Path, tail: Sequence[str] = ()
) -> JobFailed:
    """What a Failed Job died of. `pods`: every one that was seen, also those that are gone; `tail`: its last lines."""
    condition = _find(job.get("status", {}).get("conditions"), "Failed")
    if condition.get("reason") == "DeadlineExceeded":
        minutes = int(job["spec"].get("activeDeadlineSeconds", 0)) // 60
        remedy = f"Raise steps.{step}.minutes in {_profile(cluster)}; it goes on from its last checkpoint."
        return failures.DeadlineExceeded(step, f"it ran longer than {minutes} minutes", log, remedy)
    found = [cause for pod in pods if (cause := _of_pod(step, pod, cluster, log, tail)) is not None]
    if found:
        return min(found, key=lambda cause: _WEIGHTS[type(cause)])
    ends = [end for pod in pods if (end := _taken_away(step, pod, log)) is not None]
    if ends:
        return ends[0]
    return failures.PodLost(step, f"its pods are gone, and what they said with them ({_text(condition)})", log)


def lost(pods: Sequence[Document]) -> str:
    """In words: the pod of a gang that went away while the others wait for it; empty if none did."""
    for pod in pods:
        if why := _disruption(pod):
            return f"pod {pod['metadata']['name']} was lost ({why})"
    if any(_ended(pod).get("exitCode") for pod in pods if "deletionTimestamp" not in pod["metadata"]):
        return ""  # one has failed, and the Job controller takes the others away
    deleted = next((pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]), "")
    return f"pod {deleted} was lost (deleted)" if deleted else ""


_WEIGHTS: dict[type[JobFailed], int] = {
    failures.OutOfDisk: 0,
    failures.PodLost: 1,  # in a gang the others crash because of it
    failures.OutOfMemory: 2,
    failures.UserMistake: 3,
    failures.BadData: 3,
    failures.PodMisconfigured: 4,
    failures.StepCrashed: 5,
}


def _of_pod(step: str, pod: Document, cluster: Cluster, log: Path, tail: Sequence[str]) -> JobFailed | None:
    """What became of one pod; None if nothing bad."""
    name, status = pod["metadata"]["name"], pod.get("status", {})
    ended, message = _ended(pod), _text(status)
    if status.get("reason") == "Evicted" and any(part in message for part in TOO_MUCH_DISK):
        remedy = f"Raise storage.work in {_profile(cluster)}, or keep fewer checkpoints."
        return failures.OutOfDisk(step, f"pod {name}: {message}", log, remedy)
    if ended.get("reason") == "OOMKilled":
        return _out_of_memory(step, pod, ended, cluster, log)
    if disruption := _disruption(pod):
        node = pod["spec"].get("nodeName", "?")
        return failures.PodLost(step, f"pod {name} on {node}: {disruption}", log)
    if not ended.get("exitCode") or _taken_away(step, pod, log):
        return None
    return _by_exit_code(step, pod, ended, log, tail)


def _taken_away(step: str, pod: Document, log: Path) -> JobFailed | None:
    """A pod that did not end by itself, and that nothing more is known of. In a gang whose Job has failed these are
    the ones that the Job controller ended because another one failed, so any other cause comes first."""
    name, ended = pod["metadata"]["name"], _ended(pod)
    if not ended and pod.get("status", {}).get("phase") != "Succeeded":
        return failures.PodLost(step, f"pod {name} is gone", log)
    if "deletionTimestamp" in pod["metadata"] and ended.get("exitCode") in (137, 143):
        return failures.PodLost(step, f"pod {name} was deleted while it ran", log)
    return None


def _ended(pod: Document) -> Document:
    """How its container ended; empty if it has not."""
    return next((c["state"]["terminated"] for c in _containers(pod) if "terminated" in c.get("state", {})), {})


def _by_exit_code(step: str, pod: Document, ended: Document, log: Path, tail: Sequence[str]) -> JobFailed:
    note = said(ended)
    code = int(
        note.get("exit_code") or ended.get("exitCode") or 1
    )  # torchrun ends with 1 whatever its workers ended with
    if ended.get("reason") in ("StartError", "ContainerCannotRun"):
        text = f"pod {pod['metadata']['name']} cannot start: {_text(ended)}"
        return failures.PodMisconfigured(
            step, text, log, "Check the image: it must hold python with preflow installed."
        )
    if note.get("error") == "OutOfMemoryError":  # torch's own, of a GPU
        return failures.OutOfMemory(step, f"GPU: {note['message']}", log, _SMALLER)
    kinds = {2: failures.UserMistake, 3: failures.BadData}
    error = next((line.removeprefix("error: ") for line in reversed(tail) if line.startswith("error: ")), "")
    last = f"Last line: {tail[-1]}" if tail else "It printed nothing"
    what = str(note.get("message") or error or f"exit code {code}. {last}")
    return kinds.get(code, failures.StepCrashed)(step, what, log)


def _out_of_memory(step: str, pod: Document, ended: Document, cluster: Cluster, log: Path) -> JobFailed:
    box = next(c for c in pod["spec"]["containers"] if c["name"] == CONTAINER or len(pod["spec"]["containers"]) == 1)
    limit = box.get("resources", {}).get("limits", {}).get("memory", "?")
    peak = said(ended).get("memory_bytes")
    used = f"it used {int(peak) / 2**30:.2f} GiB when it last looked, and was" if peak else "it was"
    remedy = f"Raise steps.{step}.memory in {_profile(cluster)} (now {limit}). {_SMALLER}"
    return failures.OutOfMemory(step, f"{used} killed at its limit of {limit}", log, remedy)


def said(ended: Document) -> dict[str, Any]:
    """The step's own last words (components/contract writes them): error, exit_code, message, memory_bytes."""
    try:
        note = json.loads(ended.get("message") or "{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _disruption(pod: Document) -> str:
    """Why a pod was taken away, if it was; empty if it ended by itself."""
    status = pod.get("status", {})
    target = _find(status.get("conditions"), "DisruptionTarget")
    if target.get("status") == "True":
        return f"{target.get('reason', 'disrupted')}: {_text(target)}"
    reason = str(status.get("reason") or "")
    if reason in LOST or reason.startswith("OutOf"):
        return f"{reason}: {_text(status)}"
    return ""


def dropped(sent: Any, taken: Any, path: str = "") -> list[str]:
    """Fields that were sent and that the server does not have: it is too old to know them."""
    if isinstance(sent, Mapping) and isinstance(taken, Mapping):
        names = [(name, f"{path}.{name}" if path else name) for name in sent if sent[name] not in (None, "", {}, [])]
        gone = [where for name, where in names if name not in taken]
        return gone + [
            item for name, where in names if name in taken for item in dropped(sent[name], taken[name], where)
        ]
    if isinstance(sent, list) and isinstance(taken, list):
        return [item for i, pair in enumerate(zip(sent, taken)) for item in dropped(*pair, f"{path}[{i}]")]
    return []


def index(pod: Document) -> int:
    """Which pod of a gang it is (0 for the only one)."""
    return int(pod["metadata"].get("annotations", {}).get(INDEX, 0))


def _containers(pod: Document) -> list[Document]:
    return list(pod.get("status", {}).get("containerStatuses") or [])


def _condition(job: Document, kind: str) -> bool:
    return bool(_find(job.get("status", {}).get("conditions"), kind).get("status") == "True")


def _find(conditions: Any, kind: str) -> Document:
    return next((item for item in conditions or [] if item["type"] == kind), {})


def _text(item: Document) -> str:
    """Its message (or reason) on one line."""
    text = " ".join(str(item.get("message") or item.get("reason") or "").split()).rstrip(".")
    return f"{text[:297]}..." if len(text) > 300 else text or "no message"


def _last(events: list[Document], prefix: str) -> str:
    return f"{prefix}{_text(events[-1])}" if events else ""


def _profile(cluster: Cluster) -> str:
    return str(FOLDER / f"{cluster.name}.yaml")

"""The ways in which a step on a cluster fails. Each is a type with a name, a remedy, and a rule about retries.

StepFailed
└── JobFailed
    ├── UserMistake        exit code 2                     not retried
    ├── BadData            exit code 3                     not retried
    ├── StepCrashed        any other exit code             retried, counts against the profile's retries
    ├── OutOfMemory        killed for its memory           not retried: it would happen again
    ├── OutOfDisk          more files than it may have     not retried
    ├── PodLost            evicted, preempted, node gone   retried from the last checkpoint, counts as no failure
    ├── DeadlineExceeded   ran longer than it may          not retried
    ├── ImagePullFailed    the image cannot be had         not retried
    ├── Unschedulable      no node takes the pod           not retried
    ├── QuotaExceeded      the namespace may not have it   not retried
    ├── PodMisconfigured   a Secret or claim is missing    not retried
    └── JobVanished        somebody deleted it             not retried
"""

from __future__ import annotations

from pathlib import Path

from components.errors import PreflowError
from flows.runner import StepFailed


class JobFailed(StepFailed):
    """A step's Job ended without success. `code` is what the process of the flow ends with."""

    code = 1
    again = False
    remedy = ""

    def __init__(self, step: str, what: str, log: Path, remedy: str = "") -> None:
        name = type(self).__name__
        message = f"step {step}: {name}: {what.rstrip('.')}. {remedy or self.remedy} Full log: {log}"
        PreflowError.__init__(self, " ".join(message.split()))
        self.exit_code, self.step, self.log, self.what = self.code, step, log, what

    @property
    def retryable(self) -> bool:
        return self.again


class UserMistake(JobFailed):
    code = 2
    remedy = "Correct it and run again."


class BadData(JobFailed):
    code = 3
    remedy = "Correct the data and run again."


class StepCrashed(JobFailed):
    again = True
    remedy = "It is tried again while retries are left."


class OutOfMemory(JobFailed):
    """The container was killed because it used more memory than its limit."""


class OutOfDisk(JobFailed):
    """The pod was evicted because it wrote more than its volumes may hold."""

    code = 2


class PodLost(JobFailed):
    """The runner itself tries again; this is raised when patience.lost_pods is used up."""

    remedy = "Nothing is wrong with the step: it goes on from its last checkpoint."


class DeadlineExceeded(JobFailed):
    code = 2


class ImagePullFailed(JobFailed):
    code = 2
    remedy = "Check the image and its digest in the profile, and placement.imagePullSecrets for a private registry."


class Unschedulable(JobFailed):
    code = 2


class QuotaExceeded(JobFailed):
    code = 2
    remedy = "Wait for other Jobs, ask for less in the profile, or have the namespace's ResourceQuota raised."


class PodMisconfigured(JobFailed):
    code = 2
    remedy = "Make what is missing in the namespace (k8s/README.md lists the Secrets), or remove it from the profile."


class JobVanished(JobFailed):
    code = 2
    remedy = "Run the flow again: finished steps are kept, and this one goes on from its last checkpoint."

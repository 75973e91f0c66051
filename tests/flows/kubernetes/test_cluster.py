"""Steps as Jobs on a real control plane: what becomes of them, and that nothing of them is left behind."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.kubernetes import failures, render
from flows.kubernetes.api import Denied, Refused
from flows.kubernetes.failures import JobFailed
from flows.kubernetes.render import IDENTITY
from flows.kubernetes.runner import KubernetesRunner
from flows.runner import Job, RunCancelled
from flows.settings import load_settings
from tests.flows.kubernetes.documents import toy
from tests.flows.kubernetes.lab import Lab, eventually, write_profile
from tests.flows.project import environment, preflow

pytestmark = pytest.mark.cluster

# as a step does: without a handler process 1 of a container ignores SIGTERM to the end of its grace period
POLITE = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
OUT_OF_MEMORY = """
import time
from components.contract.memory import watch_memory
watch_memory(0.05)
blocks = []
while True:
    blocks.append(bytearray(20 << 20))
    time.sleep(0.1)
"""


class Toy:
    """Runs a line of Python as a step's Job."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.monkeypatch, self.log = monkeypatch, folder / "logs" / "toy.log"
        self.identity = uuid.uuid4().hex
        self.name = f"toy-{self.identity[:12]}-a1"
        self.lines: list[str] = []
        self.failed: JobFailed | None = None

    def job(self, script: str, **changes: Any) -> Job:
        self.monkeypatch.setattr(Job, "argv", lambda job: ["-c", POLITE + script])
        given = {"step": "toy", "threads": 1, "resources": {"cpu": 0.1, "memory": "512Mi", "minutes": 5}}
        return toy(**{**given, "identity": self.identity, **changes})

    def run(self, job: Job, cancelled: Callable[[], bool] = lambda: False) -> None:
        runner = KubernetesRunner(load_settings("align", runner="kubernetes", cluster="lab"))
        runner.run(job, self.log, self.lines.append, cancelled)

    def fails(self, job: Job) -> JobFailed:
        with pytest.raises(JobFailed) as caught:
            self.run(job)
        return caught.value


@pytest.fixture
def step(project: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    return Toy(monkeypatch, project)


def jobs(lab: Lab, namespace: str, step: Toy) -> list[str]:
    """The names of the step's Jobs."""
    return [job["metadata"]["name"] for job in lab.get(namespace, "jobs", f"{IDENTITY}={step.identity}")]


def pods(lab: Lab, namespace: str, step: Toy) -> list[dict[str, Any]]:
    return lab.get(namespace, "pods", f"{IDENTITY}={step.identity}")


def test_a_step_runs_and_its_lines_arrive(step: Toy) -> None:
    lines = "import os, sys, time; print('out', os.getuid()); print('err', file=sys.stderr); time.sleep(3); "
    step.run(step.job(lines + "print(os.environ['AWS_ACCESS_KEY_ID'][:4]); open('/tmp/x', 'w').write('x')"))
    assert step.log.read_text().splitlines() == ["out 10001", "err", "AKIA"]
    assert {"out 10001", "err", "AKIA"} <= set(step.lines)
    assert any(f"submitted Job {step.name} (attempt 1)" in line for line in step.lines)
    assert any("running on lab-node-0" in line for line in step.lines)


# ---- how steps fail


@pytest.mark.parametrize(
    ("script", "kind", "words"),
    [
        ("import sys; print('error: params.x: WHAT. REMEDY.'); sys.exit(2)", failures.UserMistake, "params.x: WHAT"),
        ("import sys; sys.exit(3)", failures.BadData, "exit code 3"),
        ("1 / 0", failures.StepCrashed, "ZeroDivisionError"),
        (OUT_OF_MEMORY, failures.OutOfMemory, "GiB when it last looked, and was killed at its limit of 512Mi"),
    ],
)
def test_the_end_of_a_step_has_a_name(step: Toy, script: str, kind: type[JobFailed], words: str) -> None:
    found = step.fails(step.job(script))
    assert type(found) is kind
    assert words in str(found)


def test_a_step_that_takes_too_long_is_ended(step: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "MINUTE", 4)
    found = step.fails(
        step.job("import time; time.sleep(100)", resources={"minutes": 1, "memory": "256Mi", "cpu": 0.1})
    )
    assert type(found) is failures.DeadlineExceeded
    assert "steps.toy.minutes" in str(found)


@pytest.mark.parametrize(
    ("changes", "kind", "words"),
    [
        ({"image": "unpullable/preflow:1"}, failures.ImagePullFailed, "pull of"),
        ({"steps": {"simulated_feedback": {"gpu": 64}}}, failures.Unschedulable, "Insufficient nvidia.com/gpu"),
        ({"secrets": ["nobody-made-this"]}, failures.PodMisconfigured, 'secret "nobody-made-this" not found'),
    ],
)
def test_what_never_starts_is_given_up_with_its_reason(
    step: Toy,
    project: Path,
    made: dict[str, Any],
    lab: Lab,
    namespace: str,
    changes: dict[str, Any],
    kind: type[JobFailed],
    words: str,
) -> None:
    write_profile(project, {**made, **changes})
    found = step.fails(step.job("print('never')", step="simulated_feedback"))
    assert type(found) is kind
    assert words in str(found)
    assert any(words in line for line in step.lines), "it was said while it was waited for"
    eventually(lambda: not jobs(lab, namespace, step) and not pods(lab, namespace, step))


def test_a_quota_that_is_used_up_is_told(
    step: Toy, lab: Lab, own_namespace: str, made: dict[str, Any], project: Path
) -> None:
    namespace, hard = own_namespace, {"requests.memory": "100Mi"}
    write_profile(project, {**made, "namespace": namespace})
    metadata = {"name": "small", "namespace": namespace}
    lab.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
    eventually(lambda: lab.get(namespace, "resourcequotas")[0].get("status", {}).get("used"))
    found = step.fails(step.job("print('never')"))
    assert type(found) is failures.QuotaExceeded
    assert "exceeded quota: small" in str(found)
    eventually(lambda: not jobs(lab, namespace, step))


def test_a_lost_pod_is_tried_again_and_counts_as_no_failure(step: Toy, lab: Lab, namespace: str) -> None:
    """The pod is evicted (as when a node is drained); the step is started again and ends well."""
    thread = _in_background(step, step.job("import time; print('up', flush=True); time.sleep(8); print('end')"))
    name = eventually(lambda: _running(lab, namespace, step))
    eventually(lambda: "up" in step.lines)
    body = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": name, "namespace": namespace}}
    lab.kubectl(
        "create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", "-f", "-", stdin=json.dumps(body)
    )
    thread.join(90)
    assert not thread.is_alive()
    assert step.failed is None, step.failed
    assert step.lines.count("end") == 1
    assert step.lines.count("up") == 2


# ---- cancel, crash, adoption


def test_cancelling_deletes_the_job_and_its_pod(step: Toy, lab: Lab, namespace: str) -> None:
    with pytest.raises(RunCancelled):
        step.run(step.job("import time; time.sleep(100)"), cancelled=lambda: bool(_running(lab, namespace, step)))
    eventually(lambda: not jobs(lab, namespace, step) and not pods(lab, namespace, step))


def test_an_interrupted_driver_deletes_its_job(step: Toy, lab: Lab, namespace: str) -> None:
    """Ctrl-C and SIGTERM arrive as exceptions in the midst of waiting."""

    def interrupt() -> bool:
        if _running(lab, namespace, step):
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        step.run(step.job("import time; time.sleep(100)"), cancelled=interrupt)
    eventually(lambda: not jobs(lab, namespace, step) and not pods(lab, namespace, step))


def test_a_running_job_is_adopted_not_started_twice(step: Toy, lab: Lab, namespace: str) -> None:
    """A driver that is killed hard deletes nothing. The next one finds its Job, waits for it, and gets its lines."""
    job = step.job("import time; print('up', flush=True); time.sleep(6); print('end')")
    driver = _driver_process(job)
    eventually(lambda: _running(lab, namespace, step))
    driver.kill()
    driver.wait()
    step.run(job)
    assert any(line.startswith(f"adopted Job {step.name}") for line in step.lines)
    assert [line for line in step.lines if line in ("up", "end")] == ["up", "end"]
    assert len(jobs(lab, namespace, step)) == 1


def test_two_drivers_share_one_job_and_only_its_owner_deletes_it(step: Toy, lab: Lab, namespace: str) -> None:
    job = step.job("import time; time.sleep(10); print('end')")
    driver = _driver_process(job)
    name = eventually(lambda: jobs(lab, namespace, step))[0]
    with pytest.raises(RunCancelled):
        step.run(job, cancelled=lambda: bool(_running(lab, namespace, step)))
    assert any(line.startswith(f"joined Job {name}") for line in step.lines)
    assert jobs(lab, namespace, step) == [name]
    assert driver.wait(60) == 0


def test_what_a_dead_driver_left_is_swept(
    step: Toy, lab: Lab, namespace: str, made: dict[str, Any], project: Path
) -> None:
    driver = _driver_process(step.job("import time; time.sleep(100)"))
    (name,) = eventually(lambda: jobs(lab, namespace, step))
    assert name not in preflow(project, "k8s", "sweep", "--cluster", "lab", "--dry-run").stdout, "it is waited for"
    driver.kill()
    write_profile(project, {**made, "patience": {"orphan_minutes": 0.01}})
    eventually(lambda: name in preflow(project, "k8s", "sweep", "--cluster", "lab", "--dry-run").stdout)
    assert jobs(lab, namespace, step) == [name]
    assert name in preflow(project, "k8s", "sweep", "--cluster", "lab").stdout
    eventually(lambda: not jobs(lab, namespace, step) and not pods(lab, namespace, step))


def test_a_job_that_somebody_deletes_is_said_to_be_gone(step: Toy, lab: Lab, namespace: str) -> None:
    thread = _in_background(step, step.job("import time; time.sleep(100)"))
    eventually(lambda: _running(lab, namespace, step))
    lab.kubectl("-n", namespace, "delete", "job", step.name, "--wait=false")
    thread.join(60)
    assert type(step.failed) is failures.JobVanished


def test_a_deleted_namespace_leaves_nothing_and_is_not_waited_for(
    step: Toy, lab: Lab, own_namespace: str, made: dict[str, Any], project: Path
) -> None:
    namespace = own_namespace
    write_profile(project, {**made, "namespace": namespace})
    thread = _in_background(step, step.job("import time; time.sleep(100)"))
    eventually(lambda: _running(lab, namespace, step))
    lab.kubectl("delete", "namespace", namespace, "--wait=false")
    thread.join(60)
    assert type(step.failed) is failures.JobVanished
    eventually(lambda: namespace not in lab.kubectl("get", "namespaces", "-o", "name"))


def test_an_api_server_that_restarts_costs_nothing(step: Toy, lab: Lab, namespace: str) -> None:
    script = "import time\nfor i in range(15):\n    print('line', i, flush=True)\n    time.sleep(1)"
    thread = _in_background(step, step.job(script))
    eventually(lambda: "line 2" in step.lines)
    assert "line 2" in step.log.read_text(), "the log file grows with the step"
    lab.kill_api_server()
    time.sleep(2)
    lab.up()
    thread.join(120)
    assert not thread.is_alive()
    assert step.failed is None, step.failed
    assert [line for line in step.lines if line.startswith("line")] == [f"line {i}" for i in range(15)]
    assert len(jobs(lab, namespace, step)) == 1


# ---- what the server does not allow, or does not know


def test_a_missing_permission_is_named(
    step: Toy, lab: Lab, namespace: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a service account that has no Role: the error says who may not do what, and what to do."""
    monkeypatch.setenv("KUBECONFIG", str(_as_service_account(lab, namespace, "preflow-service", project)))
    with pytest.raises(Denied, match=r"preflow-service.*cannot list resource .jobs.*Role preflow-submitter"):
        step.run(step.job("print('never')"))
    said = preflow(project, "k8s", "check", "--cluster", "lab", check=False, env=_registry())
    assert said.returncode == 2
    assert "not allowed" in said.stdout


def test_the_role_of_the_base_is_enough(
    step: Toy, lab: Lab, namespace: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(_as_service_account(lab, namespace, "preflow-submitter", project)))
    step.run(step.job("print('ran')"))
    assert "ran" in step.lines
    step.identity = uuid.uuid4().hex
    again = step.job("import time; time.sleep(100)")
    with pytest.raises(RunCancelled):
        step.run(again, cancelled=lambda: bool(_running(lab, namespace, step)))
    eventually(lambda: not _running(lab, namespace, step))
    assert preflow(project, "k8s", "check", "--cluster", "lab", env=_registry()).returncode == 0


@pytest.mark.parametrize(
    ("changes", "processes", "field"),
    [({"queue": "preflow"}, 1, "spec.suspend"), ({"gpu": {"per_pod": 2}}, 4, "spec.completionMode")],
)
def test_a_server_that_drops_fields_is_refused_before_anything_runs(
    step: Toy,
    project: Path,
    made: dict[str, Any],
    lab: Lab,
    namespace: str,
    changes: dict[str, Any],
    processes: int,
    field: str,
) -> None:
    """1.20 knows neither suspend nor Indexed: the Job would run at once, or as pods that do not know of each other."""
    write_profile(project, {**made, **changes})
    with pytest.raises(Refused, match=f"drops {field}") as caught:
        step.run(step.job("print('never')", processes=processes))
    assert "1.24 or newer" in str(caught.value)
    assert not jobs(lab, namespace, step)


def test_a_profile_the_server_does_not_take_is_refused(step: Toy, project: Path, made: dict[str, Any]) -> None:
    write_profile(project, {**made, "placement": {"nodeSelector": {"not a label": "x"}}})
    with pytest.raises(Refused, match="not a label"):
        step.run(step.job("print('never')"))


# ---- by hand


def test_one_step_without_prefect(project: Path, lab: Lab, namespace: str) -> None:
    """Each needs what the one before it made; what has not been made is said before anything runs."""
    too_early = preflow(project, "k8s", "submit", "align", "human_feedback", "-c", "lab", check=False, env=_registry())
    assert too_early.returncode == 2
    assert "its input simulated_feedback.raw has not been made" in too_early.stderr
    for step in ("simulated_feedback", "human_feedback"):
        said = preflow(project, "k8s", "submit", "align", step, "--cluster", "lab", env=_registry()).stdout
        assert f"{step}@" in said
    assert (project / "artifacts/align/human_feedback/feedback.record.json").is_file()
    assert not (project / "artifacts/align/human_feedback/feedback").exists(), "the data stays in the remote"


# ---- helpers


def _running(lab: Lab, namespace: str, step: Toy) -> str:
    """The name of the pod that runs; empty if none does."""
    found = pods(lab, namespace, step)
    return next((pod["metadata"]["name"] for pod in found if pod["status"].get("phase") == "Running"), "")


def _registry() -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"]}


def _in_background(step: Toy, job: Job) -> threading.Thread:
    def run() -> None:
        try:
            step.run(job)
        except JobFailed as error:
            step.failed = error

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def _driver_process(job: Job) -> subprocess.Popen[bytes]:
    """A driver of its own for a toy job."""
    script = (
        "import sys, pathlib\n"
        "from flows.kubernetes.runner import KubernetesRunner\n"
        "from flows.runner import Job\n"
        "from flows.settings import load_settings\n"
        f"Job.argv = lambda job: {job.argv()!r}\n"
        "runner = KubernetesRunner(load_settings('align', runner='kubernetes', cluster='lab'))\n"
        f"job = Job(**{vars(job) | {'resources': dict(job.resources)}!r})\n"
        "runner.run(job, pathlib.Path('logs/driver.log'), print, lambda: False)\n"
    )
    return subprocess.Popen([sys.executable, "-c", script], env={**environment(Path.cwd()), **_registry()})


def _as_service_account(lab: Lab, namespace: str, account: str, project: Path) -> Path:
    """A kubeconfig with the token of a service account."""
    names = [
        item["name"]
        for item in json.loads(lab.kubectl("-n", namespace, "get", "serviceaccount", account, "-o", "json"))["secrets"]
    ]
    secret = json.loads(lab.kubectl("-n", namespace, "get", "secret", names[0], "-o", "json"))
    config = yaml.safe_load(lab.kubeconfig.read_text())
    config["users"] = [{"name": "account", "user": {"token": base64.b64decode(secret["data"]["token"]).decode()}}]
    config["contexts"][0]["context"]["user"] = "account"
    path = project / f"{account}.kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path

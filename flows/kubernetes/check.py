"""`preflow k8s check`: would steps run on this cluster? Every finding comes with its remedy. Makes nothing."""

from __future__ import annotations

from collections.abc import Iterator

from components.contract.spec import all_specs
from components.errors import PreflowError
from flows.doctor import Finding
from flows.kubernetes.cluster import FOLDER
from flows.kubernetes.render import QUEUE_GROUP
from flows.kubernetes.runner import KubernetesRunner
from flows.runner import Job

NEEDED = (
    *((verb, "batch", "jobs", "") for verb in ("create", "get", "list", "watch", "patch", "delete")),
    *((verb, "", "pods", "") for verb in ("list", "watch")),
    ("get", "", "pods", "log"),
    ("list", "", "events", ""),
    ("create", "", "services", ""),
)
OLDEST = (1, 24)


def examine(runner: KubernetesRunner) -> Iterator[Finding]:
    """One check after the other; an error is a finding."""
    for check in (_server, _rights, _queue, _store, _job):
        try:
            yield from check(runner)
        except PreflowError as error:
            yield Finding("bad", str(error))


def _server(runner: KubernetesRunner) -> Iterator[Finding]:
    major, minor = runner.api.version
    level = "ok" if (major, minor) >= OLDEST else "warn"
    remedy = "It drops fields of gangs and queues; such steps will be refused. Use 1.24 or newer."
    yield Finding(level, f"API server {runner.api.host}, version {major}.{minor}", remedy)


def _rights(runner: KubernetesRunner) -> Iterator[Finding]:
    lacking = [
        f"{verb} {resource}{'/' + part if part else ''}"
        for verb, group, resource, part in NEEDED
        if not runner.api.may(verb, group, resource, part)
    ]
    if lacking:
        yield Finding(
            "bad", f"not allowed in {runner.api.namespace}: {', '.join(lacking)}", "kubectl apply -k k8s/base"
        )
    else:
        yield Finding("ok", f"allowed in namespace {runner.api.namespace}: all that the runner needs")


def _queue(runner: KubernetesRunner) -> Iterator[Finding]:
    queue = runner.cluster.queue
    if not queue:
        return
    versions = ("v1beta2", "v1beta1")
    if not any(runner.api.custom(QUEUE_GROUP, version, "localqueues", queue) for version in versions):
        remedy = f"kubectl apply -k k8s/overlays/with-kueue, or remove queue from {FOLDER / runner.cluster.name}.yaml"
        yield Finding("bad", f"Kueue LocalQueue {queue}: not in namespace {runner.api.namespace}", remedy)
    else:
        yield Finding("ok", f"Kueue LocalQueue {queue}")


def _store(runner: KubernetesRunner) -> Iterator[Finding]:
    absent = "0" * 32
    found = absent in runner.remote
    yield Finding("bad" if found else "ok", f"DVC remote {runner.remote.url} answers; pods use {runner.cluster.remote}")


def _job(runner: KubernetesRunner) -> Iterator[Finding]:
    spec = max(all_specs().values(), key=lambda spec: (spec.resources.get("gpu", 0), spec.resources.get("minutes", 0)))
    job = Job(spec.name, spec.name, spec.name, "dvc:PARAMS", {}, {}, identity="0" * 32, resources=spec.resources)
    answer = runner.rehearse(job)
    yield Finding("ok" if answer == "accepted" else "bad", f"a Job of {spec.name}, by dry run: {answer}")

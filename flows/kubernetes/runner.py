"""Runs a step as a Job: submit it, or adopt the one that is there; wait; retry lost pods; leave nothing behind."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from components.contract.record import Record, load_record
from components.errors import UserError
from components.remote import Remote
from components.remote.refs import OUTPUT, Ref
from flows import env
from flows.kubernetes.api import Api, Exists
from flows.kubernetes.attempt import Attempt
from flows.kubernetes.cache import SharedCache
from flows.kubernetes.claim import check_taken
from flows.kubernetes.cluster import FOLDER, Cluster, load_cluster
from flows.kubernetes.failures import PodLost
from flows.kubernetes.render import render
from flows.resolver import Artifact
from flows.runner import Emit, Job
from flows.schedule import Room
from flows.settings import Settings


class KubernetesRunner:
    """One Job per step on one cluster; artifacts go through the DVC remote, by content id."""

    def __init__(self, settings: Settings) -> None:
        project = Path.cwd()
        self.remote = Remote.configured(project)
        cluster = load_cluster(settings.cluster, project, os.environ.get("PREFLOW_IMAGE", ""))
        self.cluster = replace(cluster, remote=cluster.remote or self.remote.url)
        check_reach(self.cluster)
        self.api = Api(self.cluster)
        self.cache = SharedCache(project, self.remote)
        self.facts = {"PREFLOW_GIT_COMMIT": os.environ.get("PREFLOW_GIT_COMMIT") or env.git_commit()}
        if os.environ.get("HF_HUB_OFFLINE") == "0":  # preflow run --online
            self.facts["HF_HUB_OFFLINE"] = "0"

    def params(self, file: Path) -> str:
        return str(Ref(self._push(file)))

    def reference(self, artifact: Artifact) -> str:
        """`dvc:<id>@<identity>`; what was made outside is sent to the remote first. A single file keeps its name."""
        made_by, name = artifact.made_by, ""
        if artifact.path is not None and not made_by:
            record = load_record(artifact.path)
            if record is not None and artifact.id in record.outputs.values():
                made_by = record.identity
                self.remote.put_record(record, {})
            if artifact.id not in self.remote:
                self._push(artifact.path)
            name = artifact.path.name if artifact.path.is_file() else ""
        return str(Ref(artifact.id, made_by, name))

    def destination(self, path: Path) -> str:
        return OUTPUT

    def run(self, job: Job, log_file: Path, emit: Emit, cancelled: Callable[[], bool]) -> None:
        """Raises JobFailed. A lost pod is no failure: the next attempt goes on from the last checkpoint."""
        log_file.parent.mkdir(parents=True, exist_ok=True)
        for number in range(self.cluster.patience.lost_pods + 1):
            attempt = Attempt(self.api, self.cluster, job, log_file, emit, cancelled, self.facts)
            try:
                return attempt.run()
            except PodLost as error:
                if number == self.cluster.patience.lost_pods:
                    raise
                emit(f"{error.what}: trying again from the last checkpoint (not counted as a failure)")

    def room(self, at_once: int) -> Room:
        """One after the other: the lease of a Job is renewed by whoever waits for it."""
        return Room(1, 1)

    def end(self) -> None:
        """Nothing: with one step at a time, whatever ends the driver ends the step's own call."""

    def rehearse(self, job: Job) -> str:
        """A server-side dry run with strict validation: `accepted`, or why not."""
        try:
            for document in render(job, self.cluster, 1, driver="plan")[:1]:
                check_taken(document, self.api.create_job(document, dry_run=True), self.api)
        except UserError as error:
            return str(error)
        except Exists:
            return "runs already"
        return "accepted"

    def record(self, identity: str, paths: dict[str, Path]) -> Record | None:
        record = self.remote.record(identity)
        if record is not None:
            self.cache.settle(record, paths)
        return record

    def read(self, oid: str, path: Path, name: str) -> bytes | None:
        return self.cache.read(oid, path, name)

    def holds(self, oid: str, record: Record | None) -> bool:
        if oid not in self.remote:
            return False
        if record is not None:
            self.remote.put_record(record, {})
        return True

    def _push(self, path: Path) -> str:
        oid = self.cache.store.put(path)
        self.remote.push(oid, self.cache.store)
        return oid


def check_reach(cluster: Cluster) -> None:
    """What pods are pointed at must be reachable from pods. Raises UserError."""
    where = FOLDER / f"{cluster.name}.yaml"
    remote = Path(cluster.remote.removeprefix("file://"))
    mounted = [Path(volume.path) for volume in cluster.storage.volumes]
    if "://" not in cluster.remote.removeprefix("file://") and not any(p in (remote, *remote.parents) for p in mounted):
        raise UserError(
            f"DVC remote: pods cannot see a folder of this machine (got {cluster.remote}). Use a bucket "
            f"(`dvc remote add -d store s3://BUCKET/PATH`), or mount the folder in {where} under storage.volumes."
        )
    if not cluster.env.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        raise UserError(
            f"{where}.env.MLFLOW_TRACKING_URI: pods need an MLflow server to register models (got "
            f"'{cluster.env.get('MLFLOW_TRACKING_URI', '')}'). Write its URL as pods see it."
        )
    if not os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http"):
        raise UserError(
            "MLFLOW_TRACKING_URI: the flow must see the registry that its pods write to (got the embedded database). "
            "Export the URL of that MLflow server as this machine sees it."
        )

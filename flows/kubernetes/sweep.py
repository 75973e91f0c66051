"""What crashed drivers and old servers left behind: Jobs that nobody waits for, and finished ones past their time."""

from __future__ import annotations

from collections.abc import Iterator

from flows.kubernetes import status
from flows.kubernetes.api import Api, Document
from flows.kubernetes.claim import age
from flows.kubernetes.cluster import Cluster
from flows.kubernetes.render import RENEWED, STEPS


def sweep(api: Api, cluster: Cluster, *, dry_run: bool = False) -> Iterator[str]:
    """Delete them; one sentence for each."""
    for job in api.jobs(STEPS)[0]:
        facts = job["metadata"]
        why = _why(job, cluster)
        if not why or "deletionTimestamp" in facts:
            continue
        if not dry_run:
            api.delete_job(facts["name"], facts["uid"])
        yield f"Job {facts['name']}: {why}"


def _why(job: Document, cluster: Cluster) -> str:
    """Why a Job has to go; empty if it may stay."""
    patience = cluster.patience
    if status.finished(job):
        ended = job["status"].get("completionTime") or status.failed_at(job)
        hours = age(ended) / 3600
        return f"ended {hours:.1f} h ago" if hours > patience.keep_hours else ""
    silent = age(job["metadata"].get("annotations", {}).get(RENEWED, "")) / 60
    if silent > patience.orphan_minutes:
        return f"nobody has waited for it for {silent:.0f} minutes"
    return ""

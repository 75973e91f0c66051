"""Make what the servers of a team need before the first flow: buckets, the registry's user for steps, the work pool.

`python infra/bootstrap.py buckets registry-user work-pool` waits for each server and is safe to repeat: what is there
stays as it is. Everything comes from the environment (k8s/base/prefect-worker.yaml and infra/compose.yaml set it):

    buckets        AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, PREFLOW_BUCKETS=preflow,mlflow
    registry-user  MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and _PASSWORD: the user to make, and
                   MLFLOW_AUTH_ADMIN_USERNAME and _PASSWORD: who makes it
    work-pool      PREFECT_API_URL, PREFECT_API_AUTH_STRING, PREFLOW_POOL_TYPE, PREFLOW_POOL_TEMPLATE (a file; optional)
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from components.errors import PreflowError, UserError, nearest

POOL = "preflow"
WAIT_SECONDS = 300.0


def need(name: str) -> str:
    """A variable of the environment. Raises UserError, never showing a value."""
    value = os.environ.get(name, "").strip()
    if not value:
        raise UserError(f"bootstrap: {name} is not set. See the Secrets in k8s/README.md, or infra/env.example.")
    return value


def wait_for(url: str, seconds: float = WAIT_SECONDS, pause: float = 2.0) -> None:
    """Until something that is no server error answers at `url`. Raises PreflowError."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if httpx.get(url, timeout=5.0).status_code < 500:
                return
            said = "it answers with a server error"
        except httpx.HTTPError as error:
            said = type(error).__name__
        if time.monotonic() > deadline:
            raise PreflowError(f"bootstrap: {url}: no answer within {seconds:.0f} s ({said}). See the server's log.")
        time.sleep(pause)


def buckets(client: Any = None) -> str:
    """Make the buckets that are not there."""
    names = [name.strip() for name in need("PREFLOW_BUCKETS").split(",") if name.strip()]
    if client is None:
        import boto3

        wait_for(need("AWS_ENDPOINT_URL"))
        need("AWS_ACCESS_KEY_ID"), need("AWS_SECRET_ACCESS_KEY")
        client = boto3.client("s3")
    there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    for name in names:
        if name not in there:
            client.create_bucket(Bucket=name)
    return f"buckets: {', '.join(names)}"


def registry_user(client: httpx.Client | None = None) -> str:
    """Make the user that steps and flows are in the registry, or give it the password that is now in the Secret."""
    name, password = need("MLFLOW_TRACKING_USERNAME"), need("MLFLOW_TRACKING_PASSWORD")
    admin = (need("MLFLOW_AUTH_ADMIN_USERNAME"), need("MLFLOW_AUTH_ADMIN_PASSWORD"))
    if name == admin[0]:
        raise UserError(f"bootstrap: steps would be the registry's administrator ('{name}'). Name another user.")
    if client is None:
        url = need("MLFLOW_TRACKING_URI").rstrip("/")
        wait_for(f"{url}/health")
        client = httpx.Client(base_url=url, timeout=30.0)
    users = "/api/2.0/mlflow/users"
    if client.get(f"{users}/get", params={"username": name}, auth=(name, password)).status_code == 200:
        return f"registry user: {name}"
    body = {"username": name, "password": password}
    if client.get(f"{users}/get", params={"username": name}, auth=admin).status_code == 200:
        answer = client.patch(f"{users}/update-password", json=body, auth=admin)
    else:
        answer = client.post(f"{users}/create", json=body, auth=admin)
    if answer.status_code != 200:
        raise PreflowError(f"bootstrap: the registry refused the user '{name}' ({answer.status_code}): {answer.text}")
    return (
        f"registry user: {name} (new password)" if answer.request.method == "PATCH" else f"registry user: {name} (new)"
    )


def work_pool(client: Any = None) -> str:
    """Make the work pool, or update its template. Its limits, and whether it is paused, stay as people set them."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectNotFound

    kind, file = need("PREFLOW_POOL_TYPE"), os.environ.get("PREFLOW_POOL_TEMPLATE", "")
    template = json.loads(Path(file).read_text(encoding="utf-8")) if file else {}  # none: the worker brings its own
    if client is None:
        wait_for(f"{need('PREFECT_API_URL')}/ready")
        client = get_client(sync_client=True)
    with client:
        try:
            pool = client.read_work_pool(POOL)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=POOL, type=kind, base_job_template=template))
            return f"work pool: {POOL}, type {kind} (new)"
        if pool.type != kind:
            raise UserError(f"bootstrap: the work pool {POOL} is of type {pool.type}, not {kind}. Delete it first.")
        if template and pool.base_job_template != template:
            client.update_work_pool(POOL, WorkPoolUpdate(base_job_template=template))
            return f"work pool: {POOL} (new template)"
    return f"work pool: {POOL}"


TASKS: dict[str, Callable[[], str]] = {"buckets": buckets, "registry-user": registry_user, "work-pool": work_pool}


def main(names: list[str]) -> int:
    """Do the named tasks in turn; returns the exit code."""
    try:
        for name in names:
            if name not in TASKS:
                raise UserError(f"bootstrap: no task '{name}'.{nearest(name, TASKS)}")
            print(TASKS[name](), flush=True)
    except PreflowError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(TASKS)))

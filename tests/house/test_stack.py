"""Canaries: what is installed is what was proven, and the parts that break in silence work.

Prefect allows newer versions of fastapi and sqlalchemy than it works with. With fastapi >= 0.155 it dies at import;
with sqlalchemy 2.1 all seems to work, but no schedule ever fires. So a server is started and a schedule observed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from importlib.metadata import requires, version

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from flows import env, guard, server


@pytest.mark.parametrize("text", [text for text in requires("preflow") or [] if "extra ==" not in text])
def test_installed_versions_are_in_the_ranges_of_pyproject(text: str) -> None:
    requirement = Requirement(text)
    assert requirement.specifier.contains(version(requirement.name), prereleases=True)


def test_the_two_bounds_that_prefect_does_not_declare() -> None:
    assert Version(version("fastapi")) < Version("0.151")
    assert Version(version("sqlalchemy")) < Version("2.1")


@pytest.fixture
def api() -> Iterator[str]:
    """A Prefect server of our own kind, on a free port, with a database of its own."""
    env.prepare()
    port = server.free_port()
    process = server.start(port)
    try:
        url = f"http://127.0.0.1:{port}/api"
        server.wait_until_healthy(process, url)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def test_a_cron_deployment_gets_scheduled_runs(api: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import DeploymentScheduleCreate
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    settings = {PREFECT_API_URL: api, PREFECT_API_AUTH_STRING: guard.auth_string()}
    with temporary_settings(settings), get_client(sync_client=True) as client:
        flow = client.create_flow_from_name("canary")
        schedule = DeploymentScheduleCreate(schedule=CronSchedule(cron="0 3 * * *"), active=True)
        client.create_deployment(flow_id=flow, name="nightly", schedules=[schedule])
        for _ in range(180):  # the scheduler looks every few seconds; a broken one never finds anything
            runs = client.read_flow_runs()
            if runs:
                break
            time.sleep(0.5)
        assert runs, "no run was scheduled: is the installed sqlalchemy newer than 2.0?"
        assert {run.state_type for run in runs} == {StateType.SCHEDULED}
        assert {run.expected_start_time.hour for run in runs if run.expected_start_time} == {3}

"""The Prefect deployments: flows that exist, parameters that they take, one set for each kind of work pool."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import yaml

from flows import env
from flows.profile import profile_names
from tests.house.tree import ROOT
from tests.k8s.manifests import job_template

FILES = ("prefect.yaml", "prefect-kubernetes.yaml")


def load(file: str) -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "infra" / file).read_text(encoding="utf-8"))
    assert isinstance(document, dict)
    return document


def deployments() -> list[tuple[str, dict[str, Any]]]:
    return [(file, deployment) for file in FILES for deployment in load(file)["deployments"]]


@pytest.mark.parametrize(("file", "deployment"), deployments(), ids=lambda v: v if isinstance(v, str) else v["name"])
def test_a_deployment_names_a_flow_and_parameters_that_it_takes(file: str, deployment: dict[str, Any]) -> None:
    env.prepare()
    module, name = deployment["entrypoint"].rsplit(".", 1)
    flow = getattr(importlib.import_module(module), name)
    given = deployment.get("parameters", {})
    assert flow.validate_parameters(given).keys() >= given.keys()
    assert given.get("profile", "") in ["", *profile_names()]
    assert deployment["work_pool"]["name"] == "preflow"


def test_both_kinds_of_pool_offer_the_same() -> None:
    by_file = {file: {d["name"]: d for d in load(file)["deployments"]} for file in FILES}
    here, there = by_file["prefect.yaml"], by_file["prefect-kubernetes.yaml"]
    assert set(here) == set(there)
    for name, deployment in there.items():
        assert deployment["entrypoint"] == here[name]["entrypoint"]
        for key in ("schedules", "triggers", "concurrency_limit"):
            assert deployment.get(key) == here[name].get(key)


def test_a_flow_in_the_cluster_names_its_image_and_its_cluster() -> None:
    document = load("prefect-kubernetes.yaml")
    assert document["pull"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "/opt/preflow"}}]
    for deployment in document["deployments"]:
        variables = deployment["work_pool"]["job_variables"]
        assert variables == {"image": "{{ $PREFLOW_IMAGE }}"}
        assert set(variables) <= set(job_template()["variables"]["properties"])
        assert deployment["parameters"]["runner"] == "kubernetes"
        assert deployment["parameters"]["cluster"] == "{{ $PREFLOW_CLUSTER }}"

"""The one-host server: hardened, reachable from this host only, and it does not start without its secrets."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.house.tree import ROOT
from tests.k8s.manifests import needs_kubectl, served_pods

INFRA = ROOT / "infra"
TEXT = (INFRA / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
services = pytest.mark.parametrize("name", SERVICES)


def example() -> dict[str, str]:
    lines = (INFRA / "env.example").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@services
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
    assert all("size=" in mount for mount in service["tmpfs"])
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))


@services
def test_ports_are_open_to_this_host_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_the_database_is_reached_by_the_two_servers_only() -> None:
    assert "ports" not in SERVICES["postgres"]
    assert {n for n, s in SERVICES.items() if "database" in s["networks"]} == {"postgres", "prefect", "mlflow"}
    inner = {name for name, network in COMPOSE["networks"].items() if network.get("internal")}
    assert inner == {"database", "store", "api"}
    assert {network for s in SERVICES.values() for network in s["networks"]} == set(COMPOSE["networks"])


@services
def test_images_are_pinned(name: str) -> None:
    image = SERVICES[name]["image"]
    assert image == "${PREFLOW_IMAGE:-preflow:dev}" or re.search(r":[\w.-]+$", image)
    assert "latest" not in image


@needs_kubectl
def test_third_party_images_are_those_of_the_cluster() -> None:
    here = {s["image"] for s in SERVICES.values() if not s["image"].startswith("${")}
    there = {c["image"] for pod in served_pods("base") for c in pod.containers if not c["image"].startswith("preflow")}
    assert here == there


def test_no_website_may_ask_prefect_and_no_job_variable_sets_a_command() -> None:
    settings = SERVICES["prefect"]["environment"]
    assert f"{settings['PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS']}/api" == settings["PREFECT_SERVER_UI_API_URL"]
    template = json.loads((ROOT / SERVICES["bootstrap"]["environment"]["PREFLOW_POOL_TEMPLATE"]).read_text())
    assert template["variables"] == {"type": "object", "properties": {}, "additionalProperties": False}
    assert not {"command", "env"} & set(template["job_configuration"])


@needs_kubectl
def test_servers_are_started_as_in_the_cluster() -> None:
    """The commands stand twice; what differs is said here."""
    there = {pod.owner: pod.spec["containers"][0] for pod in served_pods("base")}
    assert SERVICES["prefect"]["command"] == there["prefect-server"]["command"]
    store = there["object-store"]
    assert [part.replace("$$", "$") for part in SERVICES["object-store"]["entrypoint"]] == store["command"]
    assert SERVICES["object-store"]["command"] == store["args"]
    hosts = "--allowed-hosts="
    assert [a for a in SERVICES["mlflow"]["command"] if not a.startswith(hosts)] == [
        a for a in there["mlflow"]["command"] if not a.startswith(hosts)
    ]


@services
def test_it_says_when_it_is_ready_and_waits_for_what_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert name == "bootstrap" or service["healthcheck"]["test"][0] == "CMD"
    for other, wait in service.get("depends_on", {}).items():
        assert wait == {"condition": "service_completed_successfully" if other == "bootstrap" else "service_healthy"}
        assert other == "bootstrap" or "healthcheck" in SERVICES[other]


def test_nothing_starts_without_its_secrets() -> None:
    used = re.findall(r"(?<!\$)\$\{(\w+)(:\?[^}]+)?", re.sub(r"^\s*#.*$", "", TEXT, flags=re.M))
    assert {name for name, refusal in used if not refusal} == {"PREFLOW_IMAGE"}, "every use refuses, not only one"
    assert {name for name, _ in used} == set(example())
    assert {name: value for name, value in example().items() if value} == {"PREFLOW_IMAGE": "preflow:dev"}


@services
def test_secrets_come_from_the_environment(name: str) -> None:
    secret = re.compile(r"PASSWORD$|SECRET|ACCESS_KEY|AUTH_STRING$")
    for variable, value in SERVICES[name].get("environment", {}).items():
        if secret.search(variable):
            assert value.startswith("${"), variable


def test_what_can_call_home_is_off() -> None:
    for name, service in SERVICES.items():
        if service["image"].startswith("${"):
            assert service["environment"]["DO_NOT_TRACK"] == "true", name
    assert SERVICES["prefect"]["environment"]["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert SERVICES["mlflow"]["environment"]["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "-master.telemetry=false" in SERVICES["object-store"]["command"]


def test_volumes_and_files_are_there() -> None:
    named = set()
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            if isinstance(volume, dict):
                assert volume["type"] == "bind"
                assert volume["read_only"] is True
                assert (INFRA / volume["source"]).is_file(), volume["source"]
            else:
                named.add(volume.split(":")[0])
    assert named == set(COMPOSE["volumes"])


def test_the_file_with_the_values_stays_out_of_git() -> None:
    assert ".env" in (INFRA / ".gitignore").read_text(encoding="utf-8").splitlines()

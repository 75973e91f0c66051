"""The network policies, evaluated: who may open a connection to whom, on which port, and to what outside."""

from __future__ import annotations

import ipaddress
from typing import Any

from tests.k8s.manifests import job_pods, needs_kubectl, of_kind, served_pods

pytestmark = needs_kubectl

# Prefect's worker puts labels of its own over those of our template.
PREFECT = {"app.kubernetes.io/managed-by": "prefect", "app.kubernetes.io/part-of": "prefect"}


def pods() -> dict[str, dict[str, str]]:
    made = {pod.owner: dict(pod.labels) for pod in served_pods("base")}
    for pod in job_pods():
        made[pod.owner] = {**pod.labels, **(PREFECT if pod.owner == "flow runs" else {})}
    return {**made, "flow named mlflow": {**made["flow runs"], "app.kubernetes.io/name": "mlflow"}, "stranger": {}}


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def rules(labels: dict[str, str], direction: str) -> list[dict[str, Any]]:
    policies = [
        p["spec"] for p in of_kind("base", "NetworkPolicy").values() if selects(p["spec"]["podSelector"], labels)
    ]
    own = [p for p in policies if direction.capitalize() in p["policyTypes"]]
    assert own, "no policy selects the pod: everything would be allowed"
    return [rule for policy in own for rule in policy.get(direction, [])]


def has_port(rule: dict[str, Any], port: int) -> bool:
    return "ports" not in rule or port in [p["port"] for p in rule["ports"]]


def lets(rule: dict[str, Any], side: str, labels: dict[str, str]) -> bool:
    peers = rule.get(side)
    if peers is None:
        return True
    return any("podSelector" in p and "namespaceSelector" not in p and selects(p["podSelector"], labels) for p in peers)


def connects(source: dict[str, str], target: dict[str, str], port: int) -> bool:
    out = any(has_port(rule, port) and lets(rule, "to", target) for rule in rules(source, "egress"))
    into = any(has_port(rule, port) and lets(rule, "from", source) for rule in rules(target, "ingress"))
    return out and into


def test_who_talks_to_whom() -> None:
    known = pods()
    ports = [5432, 8333, 18333, 8888, 9333, 5000, 4200, 8080, 29500, 443, 22]
    found = {
        (source, target, port)
        for source, a in known.items()
        for target, b in known.items()
        for port in ports
        if connects(a, b, port)
    }
    flows = {"flow runs", "flow named mlflow"}
    drivers = flows | {"prefect-worker"}
    assert found == {
        *(("steps", "steps", port) for port in ports),
        *((who, "object-store", 8333) for who in {"steps", "mlflow"} | drivers),
        *((who, "mlflow", 5000) for who in {"steps"} | drivers),
        *((who, "prefect-server", 4200) for who in drivers),
        *((who, "postgres", 5432) for who in ("prefect-server", "mlflow", "postgres-backup")),
    }


def test_everybody_may_ask_for_names() -> None:
    for labels in pods().values():
        peers = [r["to"] for r in rules(labels, "egress") if has_port(r, 53) and "to" in r and "ports" in r]
        assert peers == [[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]]


def outside(labels: dict[str, str], address: str, port: int) -> bool:
    ip = ipaddress.ip_address(address)
    for rule in rules(labels, "egress"):
        if not has_port(rule, port):
            continue
        if "to" not in rule:
            return True
        for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
            inside = ip in ipaddress.ip_network(block["cidr"])
            if inside and not any(ip in ipaddress.ip_network(net) for net in block.get("except", [])):
                return True
    return False


def test_what_is_reached_outside() -> None:
    known = pods()
    api = {"flow runs", "flow named mlflow", "prefect-worker", "preflow-sweeper"}
    assert {who for who, labels in known.items() if outside(labels, "203.0.113.7", 443)} == api | {"steps"}
    assert {who for who, labels in known.items() if outside(labels, "203.0.113.7", 6443)} == api
    assert {who for who, labels in known.items() if outside(labels, "203.0.113.7", 80)} == set()
    steps = known["steps"]
    assert outside(steps, "2001:db8::1", 443)
    for private in ("10.96.0.1", "172.18.0.2", "192.168.1.1", "169.254.169.254", "100.64.0.1", "fd00::1", "fe80::1"):
        assert not outside(steps, private, 443), private


def test_one_policy_can_be_taken_out_and_the_internet_is_gone() -> None:
    internet = [name for name, p in of_kind("base", "NetworkPolicy").items() if "ipBlock" in str(p)]
    assert internet == ["steps-internet"]

"""The manifests as kubectl would apply them: known to the API server, restricted, pinned, and complete."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import pytest
import yaml

from tests.k8s.manifests import (
    K8S,
    OVERLAYS,
    Pod,
    job_pods,
    needs_kubectl,
    of_kind,
    rendered,
    restricted,
    secret_table,
    served_pods,
)

pytestmark = needs_kubectl
every_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
CLUSTER_SCOPED = {"Namespace", "PriorityClass", "ResourceFlavor", "ClusterQueue"}


def all_pods(overlay: str) -> list[Pod]:
    return [*served_pods(overlay), *job_pods()]


@pytest.mark.parametrize("version", ["1.30", "newest"])
def test_the_api_server_knows_every_field(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import kubernetes_validate

    monkeypatch.setattr("kubernetes_validate.utils.schema_contents", cache(kubernetes_validate.utils.schema_contents))
    if version == "newest":
        version = kubernetes_validate.latest_version()
    different = {yaml.safe_dump(d): f"{o}: {d['kind']} {d['metadata']['name']}" for o in OVERLAYS for d in rendered(o)}
    assert len(different) > 50
    refused = []
    for text, where in different.items():
        document = yaml.safe_load(text)
        if document["apiVersion"].startswith("kueue"):
            continue  # see below
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            refused.append(f"{where}: {error.message}")
    assert refused == []


def test_kueues_objects_have_what_kueue_asks_for() -> None:
    """Its definitions are in no package: kinds, version, required fields and references by hand."""
    overlay = "overlays/with-kueue"
    kinds = {d["kind"]: d["apiVersion"] for d in rendered(overlay) if "kueue" in d["apiVersion"]}
    assert kinds == dict.fromkeys(["ResourceFlavor", "ClusterQueue", "LocalQueue"], "kueue.x-k8s.io/v1beta2")
    queue = of_kind(overlay, "ClusterQueue")["preflow"]["spec"]
    assert of_kind(overlay, "LocalQueue")["preflow"]["spec"] == {"clusterQueue": "preflow"}
    assert queue["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "preflow"}
    flavors = of_kind(overlay, "ResourceFlavor")
    for group in queue["resourceGroups"]:
        for flavor in group["flavors"]:
            assert flavor["name"] in flavors
            assert [r["name"] for r in flavor["resources"]] == group["coveredResources"], "same resources, same order"
            assert all("nominalQuota" in r for r in flavor["resources"])
    for flavor in flavors.values():
        assert set(flavor.get("spec", {})) <= {"nodeLabels", "nodeTaints", "tolerations", "topologyName"}


@every_overlay
def test_everything_is_in_the_namespace_and_says_what_it_is_part_of(overlay: str) -> None:
    for document in rendered(overlay):
        expected = None if document["kind"] in CLUSTER_SCOPED else "preflow"
        assert document["metadata"].get("namespace") == expected, document["metadata"]["name"]
    labels = of_kind(overlay, "Namespace")["preflow"]["metadata"]["labels"]
    assert {k: v for k, v in labels.items() if k.startswith("pod-security")} == {
        f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")
    }


@every_overlay
def test_every_pod_is_restricted(overlay: str) -> None:
    assert [f"{pod.owner}: {what}" for pod in all_pods(overlay) for what in restricted(pod.spec)] == []


@every_overlay
def test_only_who_submits_gets_a_token(overlay: str) -> None:
    accounts = of_kind(overlay, "ServiceAccount")
    assert {name: a["automountServiceAccountToken"] for name, a in accounts.items()} == dict.fromkeys(accounts, False)
    tokens = {pod.owner for pod in all_pods(overlay) if pod.spec.get("automountServiceAccountToken") is not False}
    assert tokens == {"prefect-worker", "preflow-sweeper", "flow runs"}
    submitters = {p.owner for p in all_pods(overlay) if p.spec.get("serviceAccountName") == "preflow-submitter"}
    assert submitters == tokens
    assert {p.spec["serviceAccountName"] for p in served_pods(overlay)} <= set(accounts)
    assert all(pod.spec["enableServiceLinks"] is False for pod in all_pods(overlay))


@every_overlay
def test_every_container_says_what_it_needs(overlay: str) -> None:
    for pod in served_pods(overlay):
        for container in pod.containers:
            resources = container["resources"]
            assert set(resources["requests"]) == {"cpu", "memory"}, pod.owner
            assert "memory" in resources["limits"], pod.owner
        for container in pod.spec["containers"]:
            if pod.owner in ("preflow-sweeper", "postgres-backup"):
                continue
            assert {"readinessProbe", "livenessProbe"} <= set(container), pod.owner


@every_overlay
def test_every_writable_volume_has_a_size(overlay: str) -> None:
    empty = [(p.owner, v["name"]) for p in served_pods(overlay) for v in p.spec.get("volumes", []) if "emptyDir" in v
             and "sizeLimit" not in v["emptyDir"]]  # fmt: skip
    assert empty == []


@every_overlay
def test_images_are_pinned_and_named_in_one_place(overlay: str) -> None:
    images = {container["image"] for pod in served_pods(overlay) for container in pod.containers}
    for image in images:
        assert re.search(r"@sha256:[0-9a-f]{64}$|:[\w][\w.-]*$", image), image
        assert not image.endswith(":latest")
    assert len(images) == 3, "ours, Postgres, SeaweedFS: each in one version"
    named = yaml.safe_load((K8S / "base" / "kustomization.yaml").read_text(encoding="utf-8"))["images"]
    bare = set(
        re.findall(r"^ +(?:- )?image: (\S+)", "\n".join(f.read_text() for f in (K8S / "base").glob("*.yaml")), re.M)
    )
    assert {entry["name"] for entry in named} == bare


def _references(pod: Pod) -> list[tuple[str, str, str]]:
    """(kind, name, key or '') of all that a pod refers to."""
    found: list[tuple[str, str, str]] = []
    for container in pod.containers:
        for entry in container.get("envFrom", []):
            found += [("Secret", entry["secretRef"]["name"], "")] if "secretRef" in entry else []
            found += [("ConfigMap", entry["configMapRef"]["name"], "")] if "configMapRef" in entry else []
        for entry in container.get("env", []):
            ref = entry.get("valueFrom", {}).get("secretKeyRef")
            found += [("Secret", ref["name"], ref["key"])] if ref else []
        values = {e["name"]: e.get("value") for e in container.get("env", [])}
        prefix = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET_"
        if f"{prefix}NAME" in values:
            found.append(("Secret", str(values[f"{prefix}NAME"]), str(values[f"{prefix}KEY"])))
    for volume in pod.spec.get("volumes", []):
        for kind, source, field in (
            ("Secret", "secret", "secretName"),
            ("ConfigMap", "configMap", "name"),
            ("PersistentVolumeClaim", "persistentVolumeClaim", "claimName"),
        ):
            found += [(kind, volume[source][field], "")] if source in volume else []
    return found


@every_overlay
def test_everything_that_a_pod_names_exists_or_is_documented(overlay: str) -> None:
    table = secret_table()
    for pod in served_pods(overlay):
        for kind, name, key in _references(pod):
            if kind == "Secret":
                assert name in table, f"{pod.owner}: no row for Secret {name} in k8s/README.md"
                assert not key or key in table[name][0], f"{pod.owner}: {name} has no key {key}"
            else:
                assert name in of_kind(overlay, kind), f"{pod.owner}: no {kind} {name}"
        mounts = {m["name"] for c in pod.containers for m in c.get("volumeMounts", [])}
        assert mounts - {"data"} <= {v["name"] for v in pod.spec.get("volumes", [])}, pod.owner


def test_the_table_of_secrets_says_who_reads_which() -> None:
    profile = yaml.safe_load((K8S / "profiles" / "gpu-cluster.yaml").read_text(encoding="utf-8"))
    readers: dict[str, set[str]] = {name: {"steps"} for name in profile["secrets"]}
    for pod in [*served_pods("base"), *job_pods()]:
        for kind, name, _ in _references(pod):
            if kind == "Secret":
                readers.setdefault(name, set()).add(pod.owner)
    readers["preflow-prefect"].add("flow runs")  # by the worker, see test_prefect_pool
    assert readers == {name: who for name, (_, who) in secret_table().items()}


@every_overlay
def test_no_secret_is_in_the_repository(overlay: str) -> None:
    assert of_kind(overlay, "Secret") == {}
    secret = re.compile(r"PASSWORD$|(?<!STRING_)SECRET_KEY$|ACCESS_KEY(_ID)?$|AUTH_STRING$|TOKEN$")
    for pod in all_pods(overlay):
        for container in pod.containers:
            plain = [e["name"] for e in container.get("env", []) if "value" in e and secret.search(e["name"])]
            assert plain == [], f"{pod.owner}: written down"


RULES: list[tuple[str, list[str], list[str]]] = [
    ("batch", ["jobs"], ["create", "delete", "get", "list", "patch", "watch"]),
    ("", ["pods"], ["get", "list", "watch"]),
    ("", ["pods/log"], ["get"]),
    ("", ["events"], ["get", "list", "watch"]),
    ("", ["services"], ["create", "delete", "get"]),
]
KUEUE_RULES = [
    ("kueue.x-k8s.io", ["localqueues"], ["get", "list"]),
    ("kueue.x-k8s.io", ["workloads"], ["get", "list", "watch"]),
]


@every_overlay
def test_the_submitter_may_do_exactly_this(overlay: str) -> None:
    assert not [d for d in rendered(overlay) if d["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    roles, bindings = of_kind(overlay, "Role"), of_kind(overlay, "RoleBinding")
    assert set(roles) == set(bindings) == {"preflow-submitter"}
    rules: list[Any] = []
    for rule in roles["preflow-submitter"]["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}
        rules += [(group, rule["resources"], sorted(rule["verbs"])) for group in rule["apiGroups"]]
    assert rules == RULES + (KUEUE_RULES if overlay == "overlays/with-kueue" else [])
    binding = bindings["preflow-submitter"]
    assert binding["roleRef"]["name"] == "preflow-submitter"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "preflow-submitter", "namespace": "preflow"}]


def test_every_service_finds_its_pod_and_its_port() -> None:
    pods = {pod.owner: pod for pod in served_pods("base")}
    services = of_kind("base", "Service")
    assert set(services) == {"postgres", "object-store", "prefect-server", "mlflow"}
    for name, service in services.items():
        chosen = [p.owner for p in pods.values() if service["spec"]["selector"].items() <= p.labels.items()]
        assert chosen == [name]
        ports = {port["name"]: port["containerPort"] for port in pods[name].spec["containers"][0]["ports"]}
        assert [ports[p["targetPort"]] for p in service["spec"]["ports"]] == [
            p["port"] for p in service["spec"]["ports"]
        ]


def test_disruption_budgets_cover_the_servers() -> None:
    budgets = of_kind("overlays/gpu-cluster", "PodDisruptionBudget")
    assert set(budgets) == set(of_kind("base", "Service"))
    labels = {pod.owner: pod.labels for pod in served_pods("overlays/gpu-cluster")}
    for name, budget in budgets.items():
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels[name].items()


@every_overlay
def test_what_can_call_home_is_off(overlay: str) -> None:
    for pod in served_pods(overlay):
        for container in pod.containers:
            env = {e["name"]: e.get("value") for e in container.get("env", [])}
            if "preflow" in container["image"]:
                assert env["DO_NOT_TRACK"] == "true", pod.owner
                assert env.get("MLFLOW_DISABLE_TELEMETRY", "true") == "true"
            if pod.owner == "prefect-server":
                assert env["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
            if pod.owner in ("prefect-server", "prefect-worker") and container["name"] != "bootstrap":
                assert env["PREFECT_TELEMETRY_ENABLE_RESOURCE_METRICS"] == "false"
            if pod.owner == "mlflow":
                assert env["MLFLOW_DISABLE_TELEMETRY"] == "true"
            if pod.owner == "object-store":
                assert "-master.telemetry=false" in container["args"]


def test_overlays_differ_as_they_say() -> None:
    gpu = {o: of_kind(o, "ResourceQuota")["preflow"]["spec"]["hard"].get("requests.nvidia.com/gpu") for o in OVERLAYS}
    assert gpu == {"base": "8", OVERLAYS[1]: None, OVERLAYS[2]: "64", OVERLAYS[3]: "64"}
    priority = of_kind("overlays/gpu-cluster", "PriorityClass")["preflow-training"]
    assert priority["value"] < 0
    assert priority["preemptionPolicy"] == "Never"
    for overlay in OVERLAYS[1:]:
        (clusters,) = [d for d in rendered(overlay) if d["metadata"]["name"].startswith("preflow-cluster-")]
        name = clusters["data"]["PREFLOW_CLUSTER"]
        assert name == overlay.split("/")[1]
        assert (K8S / "profiles" / f"{name}.yaml").is_file()


def test_every_file_of_the_base_is_used() -> None:
    for folder in ("base", "overlays/gpu-cluster", "overlays/with-kueue", "prefect"):
        text = (K8S / folder / "kustomization.yaml").read_text(encoding="utf-8")
        kustomization = yaml.safe_load(text)
        used = set(kustomization.get("resources", []))
        used |= {file for entry in kustomization.get("configMapGenerator", []) for file in entry.get("files", [])}
        there = {path.name for path in (K8S / folder).iterdir() if path.is_file()} - {"kustomization.yaml"}
        assert {name for name in used if "/" not in name} == there

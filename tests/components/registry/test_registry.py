"""The registry on a real MLflow store: registering, finding, downloading."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components import artifacts
from components.contract.record import Record, load_record
from components.errors import ArtifactError, PreflowError, UserError
from components.registry import Registry, upload, verify
from components.registry.connection import Connection, safe
from tests.components.registry.conftest import Add, make_policy

IDENTITY = "a" * 32


def register(registry: Registry, policy: Path, **changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "identity": IDENTITY,
        "tags": {"gate.status": "pass", "dataset.id": "d" * 32 + ".dir"},
        "params": {"learning_rate": 1e-5, "long": "x" * 7000},
        "metrics": {"win_rate@5": 0.5},
        "metric_history": {"loss": [(1, 0.7), (2, 0.6)]},
        "datasets": [("feedback_curation.dataset", "d" * 32 + ".dir")],
        "files": {"gate.json": "{}", "report/report.html": "<html>"},
        "description": "a test",
    }
    return registry.register("m", policy, **{**arguments, **changes})


def raw(registry: Registry, run_id: str) -> Any:
    return registry._client.get_run(run_id)


def test_a_version_and_its_run_hold_everything(registry: Registry, tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "policy")
    info = register(registry, policy)
    assert (info.name, info.version, info.gate, info.aliases) == ("m", 1, "pass", ())
    assert (info.identity, info.content_id) == (IDENTITY, artifacts.content_id(policy))
    assert info.tags["git.commit"] == "c0ffee"
    run = raw(registry, info.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["preflow.state"] == "complete"
    assert run.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert run.data.metrics == {"win_rate_5": 0.5, "train/loss": 0.6}
    assert run.data.params == {"learning_rate": "1e-05", "long": "(7000 characters: see record.json)"}
    (dataset,) = run.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == ("feedback_curation.dataset", "d" * 32 + ".dir")
    history = registry._client.get_metric_history(info.run_id, "train/loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.7), (2, 0.6)]
    assert registry.read_text(info, "report/report.html") == "<html>"
    assert registry.read_text(info, "absent.txt") is None


def test_the_same_identity_is_the_same_version(registry: Registry, tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "policy")
    first = register(registry, policy)
    assert register(registry, policy) == first
    assert register(Registry(registry.uri), policy) == first
    assert [info.version for info in registry.versions("m")] == [1]
    other = register(registry, policy, identity="b" * 32)
    assert (other.version, other.content_id) == (2, first.content_id)


STEPS: list[tuple[str, str]] = [
    ("log_batch", "before anything is logged"),
    ("log_inputs", "after the metrics"),
    ("log_artifacts", "before the files"),
    ("download_artifacts", "after the upload"),
    ("create_model_version", "before the version"),
    ("set_tag", "after the version"),
]


@pytest.mark.parametrize(("step", "when"), STEPS, ids=[when for _, when in STEPS])
def test_a_crash_at_any_step_leaves_no_half_version_and_the_next_call_finishes_the_same_run(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    policy, client = make_policy(tmp_path / "policy"), registry._client._client

    def crash(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt  # nothing that follows runs, as after a kill

    with monkeypatch.context() as patch:
        patch.setattr(client, step, crash)
        with pytest.raises(KeyboardInterrupt):
            register(registry, policy)
    again = Registry(registry.uri)
    left = again.find(IDENTITY)
    assert (left is None) == (when != "after the version")
    info = register(again, policy)
    assert [version.version for version in again.versions("m")] == [info.version] == [1]
    experiment = again._client.get_experiment_by_name("m").experiment_id
    (run,) = again._client.search_runs([experiment])
    assert (run.info.run_id, run.info.status) == (info.run_id, "FINISHED")
    assert run.data.tags["preflow.state"] == "complete"
    assert len(again._client.get_metric_history(info.run_id, "train/loss")) == 2
    assert len(run.inputs.dataset_inputs) == 1
    assert artifacts.content_id(again.download("m", 1, tmp_path / "back")) == artifacts.content_id(policy)


def test_a_check_that_raises_refuses_and_leaves_a_failed_run(registry: Registry, tmp_path: Path) -> None:
    policy, seen = make_policy(tmp_path / "policy"), []

    def check(folder: Path) -> None:
        seen.append(artifacts.content_id(folder))
        raise ArtifactError("no")

    with pytest.raises(ArtifactError, match="no"):
        register(registry, policy, check=check)
    assert seen == [artifacts.content_id(policy)]  # what is checked is what the store gave back
    assert registry.find(IDENTITY) is None
    assert registry.names() == []
    experiment = registry._client.get_experiment_by_name("m").experiment_id
    (run,) = registry._client.search_runs([experiment])
    assert (run.info.status, run.data.tags["preflow.state"]) == ("FAILED", "uploading")


def test_an_upload_that_comes_back_different_is_refused(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(client: Any, run_id: str, path: str, into: Path) -> Path:
        return make_policy(into / "policy", "other weights")

    monkeypatch.setattr(upload, "fetch", damaged)
    with pytest.raises(ArtifactError, match="other bytes than were stored"):
        register(registry, make_policy(tmp_path / "policy"))
    assert registry.find(IDENTITY) is None


def test_a_download_is_an_artifact_with_its_record(registry: Registry, tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "policy")
    oid = artifacts.content_id(policy)
    record = Record("policy_optimization@1", "i" * 32, {"seed": 1}, {"dataset": "d" * 32}, {"policy": oid})
    register(registry, policy, files={"record.json": record.to_json()})
    back = registry.download("m", 1, tmp_path / "deep" / "back")
    assert artifacts.content_id(back) == oid
    assert load_record(back) == record
    assert registry.lineage("m", 1) == record.as_ancestor()
    assert sorted(back.parent.iterdir()) == [back, back.with_name("back.record.json")]


def test_a_download_without_record_removes_the_record_of_what_was_there(registry: Registry, tmp_path: Path) -> None:
    policy = make_policy(tmp_path / "policy")
    info = register(registry, policy)
    make_policy(tmp_path / "back", "older")
    (tmp_path / "back.record.json").write_text("{}")
    registry.download("m", "1", tmp_path / "back")
    assert load_record(tmp_path / "back") is None
    assert registry.lineage("m", 1) == {info.content_id: {"external": "policy"}}


def test_a_damaged_store_is_found_on_download(registry: Registry, tmp_path: Path) -> None:
    register(registry, make_policy(tmp_path / "policy"))
    (weights,) = tmp_path.glob("mlartifacts/**/model.safetensors")
    weights.write_text("flipped")
    with pytest.raises(ArtifactError, match="other bytes than were stored"):
        registry.download("m", 1, tmp_path / "back")
    assert not list(tmp_path.glob("back*"))


def test_unknown_names_and_versions_come_with_the_known_ones(registry: Registry, add: Add) -> None:
    add(name="assistant")
    with pytest.raises(UserError, match="Did you mean 'assistant'"):
        registry.versions("asistant")
    with pytest.raises(UserError, match=r"no version 7\. Versions: 1"):
        registry.version("assistant", 7)
    with pytest.raises(UserError, match=r"no version 1\.5"):
        registry.version("assistant", "1.5")
    with pytest.raises(UserError, match="no version is @champion"):
        registry.version("assistant", "@champion")
    with pytest.raises(UserError, match="a name is made of"):
        registry.champion("it's")
    assert registry.champion("asistant") is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tags": {"note": "x" * 5001}}, "at most 5000 characters"),
        ({"datasets": [("d", "f" * 64)]}, "at most 36 characters"),
        ({"metrics": {"a@b": 1.0, "a_b": 2.0}}, "are one name to MLflow"),
    ],
)
def test_what_mlflow_could_not_keep_whole_is_refused(
    registry: Registry, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        register(registry, make_policy(tmp_path / "policy"), **changes)


def test_verify_wants_the_version_its_decision_and_its_files(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not verify(IDENTITY, "m")
    info = register(registry, make_policy(tmp_path / "policy"))
    assert not verify(IDENTITY, "m")  # registered, but a crash came before the decision
    registry.promote("m", info.version, by="me", reason="why")
    assert verify(IDENTITY, "m")
    assert not verify(IDENTITY, "other")
    assert not verify("b" * 32, "m")
    artifacts.remove(tmp_path / "mlartifacts")
    assert not verify(IDENTITY, "m")


@pytest.mark.parametrize("uri", ["file:///tmp/x", "postgresql://u:secret@h/db", "mlruns"])
def test_only_a_server_or_sqlite_and_no_password_in_messages(uri: str) -> None:
    with pytest.raises(UserError) as caught:
        Registry(uri).names()
    assert "must be http(s)" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_unreachable_server_is_an_error_that_may_be_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(PreflowError) as caught:
        Registry("http://user:secret@127.0.0.1:9").names()
    assert caught.value.exit_code == 1
    assert "secret" not in str(caught.value)


def test_credentials_never_show() -> None:
    assert safe("https://user:secret@host:5000/x") == "https://host:5000/x"
    assert safe("sqlite:////tmp/a/mlflow.db") == "sqlite:////tmp/a/mlflow.db"


def test_two_processes_may_open_a_new_database_at_once(tmp_path: Path) -> None:
    code = "import sys; from components.registry import Registry; print(Registry(sys.argv[1]).names())"
    uri = f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
    runs = [subprocess.Popen([sys.executable, "-c", code, uri], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [run.communicate()[0].strip() for run in runs] == ["[]", "[]"]


def test_a_deleted_experiment_is_explained(registry: Registry, tmp_path: Path) -> None:
    client: Connection = registry._client
    client.delete_experiment(client.experiment("m"))
    with pytest.raises(UserError, match=r"was deleted\. Restore it"):
        register(registry, make_policy(tmp_path / "policy"))


def test_importing_the_registry_imports_neither_mlflow_nor_torch() -> None:
    code = "import sys, components.registry; assert not {'mlflow', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)

"""The same calls against a real MLflow server over HTTP, as clients of a cluster make them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from components import artifacts
from components.errors import UserError
from components.registry import CHALLENGER, Registry, verify
from tests import mlflow_server
from tests.components.registry.conftest import make_policy

pytestmark = pytest.mark.slow  # a server takes 10 to 20 s to start


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server.serve(tmp_path_factory.mktemp("server")) as url:
        yield url


def test_register_promote_roll_back_download_over_http(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    registry = Registry()
    for number, gate in ((1, "pass"), (2, "pass"), (3, "refused")):
        policy = make_policy(tmp_path / f"policy-{number}", f"weights {number}")
        info = registry.register(
            "m",
            policy,
            identity=f"{number:032x}",
            tags={"gate.status": gate, "lineage." + "d" * 32 + ".dir": "feedback_curation@1"},
            params={"seed": number},
            metrics={"win_rate": 0.5, "undefined": float("nan")},
            metric_history={"loss": [(step, 1.0 / (step + 1)) for step in range(1500)]},
            datasets=[("feedback_curation.dataset", "d" * 32 + ".dir")],
            files={"gate.json": "{}", "report/report.html": "<html>"},
        )
        assert info.version == number
    promote = {"by": "me", "reason": "why"}
    registry.promote("m", 1, alias=CHALLENGER, **promote)
    registry.promote("m", 1, **promote)
    registry.promote("m", 2, **promote)
    with pytest.raises(UserError, match="gate did not pass"):
        registry.promote("m", 3, **promote)
    registry.rollback("m", by="me", reason="worse")
    champion = Registry(server).champion("m")
    assert champion is not None
    assert (champion.version, champion.aliases) == (1, ("champion",))
    assert [entry.action for entry in registry.ledger("m")] == ["promote", "promote", "promote", "rollback"]
    back = registry.download("m", "@champion", tmp_path / "back")
    assert artifacts.content_id(back) == champion.content_id == artifacts.content_id(tmp_path / "policy-1")
    assert registry.read_text(champion, "report/report.html") == "<html>"
    assert verify(f"{1:032x}", "m")
    assert not verify(f"{3:032x}", "m")  # nothing decided on it yet
    history = registry._client.get_metric_history(champion.run_id, "train/loss")
    assert len(history) == 1500
    run = registry._client.get_run(champion.run_id)
    assert run.inputs.dataset_inputs[0].dataset.digest == "d" * 32 + ".dir"
    with pytest.raises(UserError, match="no such registered model"):
        registry.versions("n")

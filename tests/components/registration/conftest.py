"""A candidate as `align` would hand it over: a tiny policy with its check and record, a report with its record."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import content_id
from components.contract.record import Record, record_path
from components.contract.run import run_component
from components.registry import Registry
from components.sequences import Sequence
from components.training import scoring_check
from components.training.params import Compute
from components.training.runtime import load_policy, setup
from tests.components.registry.conftest import database, empty_database, registry
from tests.tiny import save_tiny_policy

__all__ = ["database", "empty_database", "registry"]

COMPUTE = Compute(threads=1)
RAW, FEEDBACK, DATASET = (letter * 32 + ".dir" for letter in "abd")
BASE, REWARD = "e" * 32 + ".dir", "f" * 32 + ".dir"
METRICS: dict[str, Any] = {
    "win_rate": {"value": 0.6, "n": 200, "ci_low": 0.53, "ci_high": 0.67},
    "length.ratio_to_reference": {"value": 1.2, "n": 200, "ci_low": 1.1, "ci_high": 1.3},
}
GATE = [
    {"metric": "win_rate", "use": "ci_low", "op": ">", "value": 0.5, "min_n": 100},
    {"metric": "length.ratio_to_reference", "op": "<=", "value": 1.5},
]


def made(component: str, port: str, oid: str, inputs: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """A step as a lineage holds it."""
    return {"component": component, "identity": oid[:32], "params": params, "inputs": inputs, "outputs": {port: oid}}


def _lineage() -> dict[str, dict[str, Any]]:
    return {
        RAW: {"external": "raw_feedback"},
        FEEDBACK: made("human_feedback@1", "feedback", FEEDBACK, {"raw": RAW}, {"format": "auto"}),
        DATASET: made("feedback_curation@2", "dataset", DATASET, {"feedback": [FEEDBACK], "policy": BASE}, {"seed": 0}),
        BASE: made("base_model@1", "policy", BASE, {}, {"source": "org/tiny"}),
    }


def save_check(policy: Path, compute: Compute = COMPUTE) -> None:
    """What the training step leaves beside the weights."""
    setup(compute, 0)
    model, _ = load_policy(policy, compute)
    scoring_check.write(policy, model, [Sequence([1, 5 + i, 9], [20 + i, 30, 2]) for i in range(4)], compute)


@dataclass
class Candidate:
    """Paths of one candidate, and the component run on them."""

    folder: Path
    policy: Path
    report: Path
    more: list[Path] = field(default_factory=list)
    """Further reports."""

    @property
    def id(self) -> str:
        return content_id(self.policy)

    def register(self, **params: Any) -> Record:
        defaults = {"name": "m", "gate": GATE, "compute": {"threads": 1}}
        return run_component(
            "registration",
            {**defaults, **params},
            {"policy": [self.policy], "report": [self.report, *self.more]},
            {"decision": self.folder / "decision"},
        )

    @property
    def execution(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.folder / "decision.execution.json").read_text())["registry"]
        return facts


def write_record(
    folder: Path,
    component: str,
    port: str,
    inputs: dict[str, Any],
    params: dict[str, Any],
    lineage: dict[str, dict[str, Any]] | None = None,
) -> Record:
    oid = content_id(folder)
    record = Record(component, oid[:32], params, inputs, {port: oid}, {}, _lineage() | (lineage or {}))
    record.write(folder)
    return record


Make = Callable[..., Candidate]


@pytest.fixture
def make(tmp_path: Path, database: str) -> Make:
    """`make(seed=1, metrics=..., champion=id)`: another seed is another policy."""
    count = 0

    def candidate(seed: int = 0, metrics: dict[str, Any] | None = None, champion: str = "") -> Candidate:
        nonlocal count
        count += 1
        folder = tmp_path / f"candidate-{count}"
        policy = save_tiny_policy(folder / "policy", seed=seed, hidden=16)
        log = [{"step": step, "epoch": step / 2, "loss": 0.7 / step, "rewards/accuracies": 0.5} for step in (1, 2)]
        (policy / "training_log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in log))
        save_check(policy)
        training = {"objective": {"name": "dpo", "beta": 0.1}, "optimization": {"learning_rate": 1e-5}, "seed": seed}
        write_record(policy, "policy_optimization@1", "policy", {"dataset": DATASET, "policy": BASE}, training)
        report = folder / "report"
        report.mkdir()
        (report / "metrics.json").write_text(json.dumps(METRICS if metrics is None else metrics))
        (report / "slices.json").write_text(json.dumps({"missing": {"win_rate": "no pair got a verdict"}}))
        (report / "report.html").write_text("<html>report</html>")
        inputs = {"policy": content_id(policy), "reference": BASE, "dataset": DATASET, "reward_model": REWARD}
        write_record(report, "evaluation@1", "report", {**inputs, **({"champion": champion} if champion else {})}, {})
        return Candidate(folder, policy, report)

    return candidate


__all__ += ["Candidate", "Make", "Registry", "record_path"]

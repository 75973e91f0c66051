"""Gate a candidate, store it with everything that explains it, and move the aliases as the gate says."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.artifacts import write_text
from components.contract.record import record_path
from components.contract.run import Input, Inputs, Metrics, Outputs
from components.errors import ArtifactError, WiringError
from components.registration.card import model_card
from components.registration.decide import decide, refusal
from components.registration.gate import PASS, failing, gate, to_json
from components.registration.params import Params
from components.registration.reload import Reload, check_reload
from components.registration.story import Story, flat, read_story
from components.registry import Registry, VersionInfo
from components.training.runtime import setup


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Write gate.json and model_card.md; register the policy and decide on it (effects of the registry)."""
    setup(params.compute, 0)
    policy, reports = inputs["policy"], inputs.many("report")
    story = read_story(policy, reports)
    metrics, missing = merged_metrics(reports), _missing(reports)
    decision = gate(metrics, params.gate, champion=bool(story.champion), missing=missing)
    write_text(outputs["decision"] / "gate.json", to_json(decision))
    write_text(outputs["decision"] / "model_card.md", model_card(params, story, metrics, decision))
    registry, checked = Registry(), []

    def check(folder: Path) -> None:
        checked.append(check_reload(folder, params.compute, exact=params.exact))

    info = registry.register(
        params.name,
        policy.path,
        identity=outputs.identity,
        tags=_tags(story, decision),
        params=_run_params(story),
        metrics=_run_metrics(metrics),
        metric_history=_training_curve(policy.path),
        datasets=_datasets(story),
        files=_files(policy, reports, outputs["decision"]),
        description=_description(story, decision),
        check=check,
    )
    outcome = decide(registry, info, decision, story.champion, promote=params.promote)
    outputs.execution["registry"] = _execution(info, outcome, checked)
    return {
        "gate": decision["verdict"],
        "gate.checks": len(decision["checks"]),
        "gate.failed": len(failing(decision)),
        "gate.reason": "" if decision["verdict"] == PASS else refusal(decision),
    }


def merged_metrics(reports: Sequence[Input]) -> dict[str, Any]:
    """The metrics of all reports. Raises WiringError where two of them measure one thing under one name."""
    metrics: dict[str, Any] = {}
    for report in reports:
        found = _read_json(report.path / "metrics.json")
        if twice := sorted(metrics.keys() & found.keys()):
            raise WiringError(
                f"registration --in report: metric {twice[0]} stands in two reports, and a gate needs one value (got "
                f"{len(twice)} such metrics). Leave one of the reports out."
            )
        metrics |= found
    return metrics


def _missing(reports: Sequence[Input]) -> dict[str, str]:
    """Why a report lacks a metric that it could have had."""
    files = [report.path / "slices.json" for report in reports]
    return {name: why for f in files if f.is_file() for name, why in _read_json(f).get("missing", {}).items()}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArtifactError(f"{path}: not JSON ({error}). Rerun evaluation.") from error
    if not isinstance(raw, dict):
        raise ArtifactError(f"{path}: must be an object (got {type(raw).__name__}). Rerun evaluation.")
    return raw


def _tags(story: Story, decision: Mapping[str, Any]) -> dict[str, str]:
    """Tags of the version: one per ancestor, so that `what came of this data set?` is a search in the registry."""
    tags = {
        "gate.status": decision["verdict"],
        "gate.reason": "" if decision["verdict"] == PASS else refusal(decision),
        "gate.report": " ".join(story.reports),
        "dataset.id": story.dataset,
        "reference.id": story.reference,
        "champion.compared": story.champion,
        **{f"objective.{key}": str(value) for key, value in story.objective.items()},
    }
    for item in story.ancestors:
        tags[f"lineage.{item.id}"] = f"{item.component} {item.port}".strip()
        if "@" in item.component:
            tags.setdefault(f"component.{item.name}", item.component.partition("@")[2])
    return {key: text for key, text in tags.items() if text}


def _run_params(story: Story) -> dict[str, Any]:
    """Parameters of the nearest step of each component; those further back stand in record.json."""
    params: dict[str, Any] = {}
    for name in {item.name: None for item in story.ancestors if item.params}:
        nearest = story.nearest(name)
        assert nearest is not None
        params |= {f"{name}.{key}": value for key, value in flat(nearest.params).items()}
    return params


def _run_metrics(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Every number of the report: `win_rate`, `win_rate.ci_low`, `win_rate.ci_high`, `win_rate.n`."""
    numbers: dict[str, float] = {}
    for name, entry in metrics.items():
        fields = entry if isinstance(entry, Mapping) else {"value": entry}
        for key, value in fields.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                numbers[name if key == "value" else f"{name}.{key}"] = float(value)
    return numbers


def _training_curve(policy: Path) -> dict[str, list[tuple[int, float]]]:
    """training_log.jsonl as metric -> [(step, value)]; empty for a policy that was not trained here."""
    curve: dict[str, list[tuple[int, float]]] = {}
    log = policy / "training_log.jsonl"
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else []:
        row = json.loads(line)
        for key, value in row.items():
            if key != "step" and isinstance(value, (int, float)) and not isinstance(value, bool):
                curve.setdefault(key, []).append((int(row["step"]), float(value)))
    return curve


def _datasets(story: Story) -> list[tuple[str, str]]:
    """Data in the lineage as MLflow data set inputs (content ids are DVC's, so `dvc` finds the bytes)."""
    return [(f"{item.name}.{item.port}" if item.port else item.component, item.id) for item in story.data]


def _files(policy: Input, reports: Sequence[Input], decision: Path) -> dict[str, Path | str]:
    files: dict[str, Path | str] = {name: decision / name for name in ("gate.json", "model_card.md")}
    for number, report in enumerate(reports, start=1):
        folder = "report" if number == 1 else f"report-{number}"
        files |= {f"{folder}/{name}": report.path / name for name in ("report.html", "metrics.json")}
        files[f"{folder}/record.json"] = record_path(report.path)
    if policy.record is not None:
        files["record.json"] = policy.record.to_json()
    return files


def _description(story: Story, decision: Mapping[str, Any]) -> str:
    objective = story.objective.get("name", "no recorded objective")
    verdict = "passed its gate" if decision["verdict"] == PASS else f"refused ({refusal(decision)})"
    return f"Policy {story.policy} ({objective}) on data set {story.dataset or 'unknown'}: {verdict}."


def _execution(info: VersionInfo, outcome: str, checked: list[Reload]) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": info.name, "version": info.version, "run_id": info.run_id, "outcome": outcome}
    if checked:
        facts["reload"] = {"rows": checked[0].rows, "largest_gap": checked[0].largest, "exact": checked[0].exact}
    return facts

"""What a plan, a run and a single step know of handles, and what is cached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.artifacts import content_id
from components.contract.record import Record
from flows.cache import Cache
from flows.graph import Graph
from flows.plan import Plan
from flows.resolver import Resolver
from flows.runners import open_runner
from flows.settings import Settings, load_settings
from tests.flows.project import REPO


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text((REPO / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pretend(settings: Settings, upto: str) -> None:
    """Make a folder and a record for every step up to one, as runs would have."""
    known, cache = Resolver(settings), Cache(Path.cwd())
    graph, _ = settings.wire()
    for node in graph.needed_for(graph.nodes[upto][next(iter(graph.nodes[upto].spec.outputs))]):
        paths = known.outputs(node)
        for port, path in paths.items():
            path.mkdir(parents=True)
            (path / "content").write_text(f"{node.name} {port}")
        made = {port: content_id(path) for port, path in paths.items()}
        record = Record(node.spec.ref, known.identity(node), known.params(node), known.ids(node), made)
        for path in paths.values():
            record.write(path)
        cache.keep(record, paths)
        known.records[node.name] = record


def plan(**given: Any) -> dict[str, str]:
    settings = load_settings("align", **given)
    return {step.step: step.action for step in Plan(settings, settings.wire()[0], open_runner(settings)).steps}


def test_a_step_that_is_done_is_cached_and_what_follows_runs_or_waits(project: Path) -> None:
    pretend(load_settings("align"), "policy_optimization")
    actions = plan()
    assert actions["policy_optimization"] == "cached"
    assert actions["candidate_answers"] == "runs"
    assert actions["candidate_likelihood"] == "runs"
    assert actions["evaluation"] == "depends"


def test_an_execution_setting_changes_no_step(project: Path) -> None:
    """By `--set` or in a profile: how often a checkpoint is written makes nothing again."""
    pretend(load_settings("align"), "policy_optimization")
    before = plan()
    assert plan(overrides=("policy_optimization.optimization.checkpoint_every=7",)) == before
    changed = plan(overrides=("policy_optimization.optimization.batch_size=7",))
    assert {step for step in before if before[step] != changed[step]} == {
        "policy_optimization",
        "candidate_answers",
        "candidate_likelihood",
    }


def test_steps_that_share_a_section_change_together(project: Path) -> None:
    pretend(load_settings("align"), "reference_answers")
    assert plan()["reference_answers"] == "cached"
    assert plan(overrides=("answers.sampler.seed=1",))["reference_answers"] == "runs"
    assert plan(overrides=("answers.sampler.seed=1",))["response_sampling"] == "cached"


def test_what_a_handle_is(project: Path) -> None:
    settings = load_settings("align")
    known = Resolver(settings)
    file = project / "votes.jsonl"
    outside, stored = Graph.external("raw_feedback", file), Graph.stored("policy", "champion", "c" * 32, "i" * 32)
    assert not known.knows(outside)
    file.write_text("{}")
    assert known.artifact(outside).id == content_id(file)
    assert (known.artifact(stored).id, known.artifact(stored).made_by) == ("c" * 32, "i" * 32)
    graph, _ = settings.wire()
    made = graph.nodes["base_model"]["policy"]
    assert known.missing(graph.nodes["candidate_likelihood"])[0] == graph.nodes["policy_optimization"]["policy"]
    known.records["base_model"] = Record("base_model@1", "i" * 32, {}, {}, {"policy": "p" * 32})
    artifact = known.artifact(made)
    assert (artifact.id, artifact.made_by) == ("p" * 32, "i" * 32)
    assert artifact.path == Path("artifacts/align/base_model/policy")


def test_dvc_reads_params_yaml_as_the_steps_do() -> None:
    """Aliases and merges (`*name`, `<<: *name`) are resolved by both, and alike."""
    from dvc.utils.serialize import load_yaml

    from components.contract.params import read_params_file

    ours = read_params_file(REPO / "params.yaml")
    assert load_yaml(str(REPO / "params.yaml")) == ours
    assert yaml.safe_load((REPO / "params.yaml").read_text()) == ours
    assert ours["second_reward_modeling"] == {**ours["reward_modeling"], "seed": 1}

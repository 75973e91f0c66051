"""`online_alignment` end to end on a small project: two rounds, the same by DVC and by the flow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.contract.record import load_record
from tests.flows.project import dvc, last_run, make_project, output_ids, planned, preflow

pytestmark = pytest.mark.slow
STEPS = 27
PIPELINE = "pipelines/online_alignment/dvc.yaml"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run by `dvc repro`, without Prefect."""
    project = make_project(tmp_path_factory.mktemp("online") / "project")
    dvc(project, "repro", PIPELINE)
    return project


def test_every_round_starts_from_the_policy_of_the_last(project: Path) -> None:
    made = project / "artifacts" / "online_alignment"
    ids = output_ids(project, "online_alignment")
    for start, number in (("base_model.policy", 1), ("best_of_n_tuning_1.policy", 2)):
        record = load_record(made / f"best_of_n_tuning_{number}" / "policy")
        assert record is not None
        assert record.inputs["policy"] == ids[start]
        assert record.params["objective"]["name"] == "sft"


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_the_best_of_n_has_the_highest_score(project: Path) -> None:
    """PO-70: of the answers to a prompt the one that the reward model scores highest is the one that is learned."""
    made = project / "artifacts" / "online_alignment"
    answers = lines(made / "rollouts_1/samples/samples.jsonl")
    text = {(row["prompt_key"], row["sample"]): row["completion"] for row in answers}
    scored = [row for row in lines(made / "rollout_scores_1/scores/scores.jsonl") if row["of"] == "sample"]
    best: dict[str, tuple[float, str]] = {}
    for row in scored:
        place = row["prompt_key"], row["sample"]
        best[row["prompt_key"]] = max(best.get(row["prompt_key"], (-1e9, "")), (row["score"], text[place]))
    learned = []
    for record in lines(made / "best_of_n_curation_1/dataset/train.jsonl"):
        (judgment,) = record["judgments"]
        (first,) = judgment["tiers"][0]
        (candidate,) = [item for item in record["candidates"] if item["cid"] == first]
        learned.append(candidate["parts"][0]["text"])
    assert len(learned) == len(best) == 12
    assert sorted(learned) == sorted(answer for _, answer in best.values())


def test_a_flow_after_it_is_all_cache_hits_and_repro_has_nothing_to_do(project: Path) -> None:
    preflow(project, "run", "online_alignment")
    run = last_run(project)
    assert run["status"] == "done"
    assert [step["status"] for step in run["steps"]] == ["cached"] * STEPS  # type: ignore[index,attr-defined]
    assert "up to date" in dvc(project, "repro", PIPELINE)


def test_a_third_round_runs_only_itself_and_what_follows(project: Path) -> None:
    actions = planned(project, "online_alignment", "--iterations", "3")
    others = {step for step, action in actions.items() if action != "cached"}
    again = {"rollouts_3", "rollout_scores_3", "best_of_n_3", "best_of_n_curation_3", "best_of_n_tuning_3"}
    judged = {"candidate_answers", "candidate_likelihood", "reference_likelihood", "reward_scores"}
    assert others == again | judged | {"judge_vs_reference", "evaluation", "registration"}


def test_the_graph_of_align_is_another_pipeline(project: Path) -> None:
    """Steps that both have are done: their results come from the cache, into the workspace of align."""
    actions = planned(project, "align")
    assert [step for step, action in actions.items() if action == "cached"] == list(actions)[:8]
    assert not (project / "artifacts" / "align").exists()

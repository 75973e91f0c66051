"""`align` end to end on a small project: by DVC or by the flow, undisturbed or killed, the result is the same."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.flows.project import dvc, environment, last_run, make_project, output_ids, planned, preflow

STEPS = 17
OUTPUTS = STEPS + 3  # policy_optimization has two, and so has llm_feedback, which stands twice


@pytest.fixture(scope="module")
def by_dvc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The graph run by `dvc repro`, without Prefect."""
    project = make_project(tmp_path_factory.mktemp("dvc") / "project")
    dvc(project, "repro")
    return project


@pytest.fixture(scope="module")
def by_flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same graph run by the flow, whose driver and steps are killed hard at random points until it ends."""
    project = make_project(tmp_path_factory.mktemp("flow") / "project")
    chance = random.Random(20261121)
    for attempt in range(8):
        driver = _start(project)
        if _ends_within(driver, chance.uniform(8.0, 25.0)):
            break
        victim = driver if attempt % 2 == 0 else _a_step_of(driver) or driver
        os.kill(victim.pid, signal.SIGKILL)
        if victim is driver:
            driver.wait()
        else:  # the flow sees its step die, retries it, and goes on by itself
            if _ends_within(driver, 600):
                break
    else:
        assert _ends_within(_start(project), 600)
    preflow(project, "run", "align")
    return project


def _start(project: Path) -> subprocess.Popen[bytes]:
    log = (project / "driver.log").open("ab")
    argv = [sys.executable, "-m", "flows.cli", "run", "align"]
    return subprocess.Popen(argv, cwd=project, env=environment(project), stdout=log, stderr=log)


def _ends_within(driver: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        code = driver.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    assert code == 0, "the flow failed"
    return True


def _a_step_of(driver: subprocess.Popen[bytes]) -> psutil.Process | None:
    children = psutil.Process(driver.pid).children()
    return next((child for child in children if "components" in child.cmdline()), None)


def test_killed_at_random_points_and_rerun_gives_the_same_content_ids(by_dvc: Path, by_flow: Path) -> None:
    """Every artifact of the disturbed flow equals, byte for byte, that of the undisturbed `dvc repro`."""
    ids = output_ids(by_flow)
    assert len(ids) == OUTPUTS
    assert ids == output_ids(by_dvc)


def test_after_a_flow_dvc_repro_has_nothing_to_do(by_flow: Path) -> None:
    out = dvc(by_flow, "repro")
    assert "Running stage" not in out
    assert "up to date" in out


def test_after_dvc_repro_a_flow_is_all_cache_hits(by_dvc: Path) -> None:
    preflow(by_dvc, "run", "align")
    run = last_run(by_dvc)
    assert run["status"] == "done"
    assert [step["status"] for step in run["steps"]] == ["cached"] * STEPS  # type: ignore[index,attr-defined]


def test_nothing_half_written_is_left_behind(by_flow: Path) -> None:
    leftovers = [p for p in (by_flow / "artifacts").rglob("*") if ".tmp-" in p.name or ".old-" in p.name]
    assert leftovers == []


def test_no_killed_run_is_said_to_be_running(by_flow: Path) -> None:
    pages = [(path.parent / "index.html").read_text() for path in (by_flow / "runs").glob("*/run.json")]
    assert len(pages) >= 2
    assert not any('class="status running"' in page for page in pages)


def test_a_deleted_output_is_restored_not_trusted(by_dvc: Path) -> None:
    """After deleting artifacts the next run is still all hits, because the store holds them, and they are back."""
    before = output_ids(by_dvc)
    shutil.rmtree(by_dvc / "artifacts" / "align" / "reward_modeling")
    preflow(by_dvc, "run", "align")
    assert output_ids(by_dvc) == before
    assert (by_dvc / "artifacts/align/reward_modeling/model/card.json").is_file()


def test_the_plan_says_cached_and_what_an_override_would_rerun(by_dvc: Path) -> None:
    assert list(planned(by_dvc, "align").values()) == ["cached"] * STEPS
    changed = preflow(by_dvc, "plan", "align", "--set", "reward_modeling.seed=7").stdout
    assert "seed 0 -> 7" in changed
    assert "depends" in changed


def test_a_changed_bootstrap_samples_and_judges_nothing_again(by_dvc: Path) -> None:
    """What is measured, and how, is apart from what was said: only the evaluation and what follows run."""
    actions = planned(by_dvc, "align", "--set", "evaluation.resamples=600")
    assert {step for step, action in actions.items() if action != "cached"} == {"evaluation", "registration"}


def test_how_a_step_is_carried_out_makes_nothing_again(by_dvc: Path) -> None:
    preflow(by_dvc, "run", "align", "--set", "policy_optimization.optimization.checkpoint_every=7")
    assert {step["status"] for step in last_run(by_dvc)["steps"]} == {"cached"}  # type: ignore[attr-defined]


def test_the_plan_of_retrain_knows_when_there_is_no_champion_yet(by_dvc: Path) -> None:
    """The toy candidate was refused, so there is nothing to beat: the plan waits for none and makes no folder."""
    out = preflow(by_dvc, "plan", "retrain").stdout
    assert "external" not in out
    assert not (by_dvc / "artifacts" / "retrain").exists()


def test_a_registry_that_lost_the_model_is_not_a_hit(by_dvc: Path) -> None:
    """The decision is on disk, but a fresh registry does not hold the version: registration runs again."""
    store = by_dvc / ".preflow"
    for file in store.glob("mlflow.db*"):
        file.unlink()
    preflow(by_dvc, "run", "align")
    status = {step["step"]: step["status"] for step in last_run(by_dvc)["steps"]}  # type: ignore[attr-defined]
    assert status.pop("registration") == "done"
    assert set(status.values()) == {"cached"}


def test_mistakes_cost_nothing_and_exit_with_2(by_dvc: Path) -> None:
    started = time.time()
    done = preflow(by_dvc, "run", "align", "--set", "policy_optimizatoin.seed=1", check=False)
    assert done.returncode == 2
    assert "Did you mean 'policy_optimization'?" in done.stderr
    assert not [p for p in (by_dvc / "runs").iterdir() if p.stat().st_mtime > started]

"""The whole component on small artifacts, through the contract."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import content_id
from components.contract.record import Record, load_record, record_path
from components.contract.run import run_component
from components.errors import ParamsError, WiringError
from components.evaluation.showcase import draw
from tests.components.evaluation.world import MODEL, World, evidence, save_reward_scores, small

Ports = dict[str, list[Path]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home"))


def _run(ports: Ports, out: Path, **more: object) -> Record:
    return run_component("evaluation", small(**more), ports, {"report": out})


@pytest.fixture(scope="module")
def report(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFLOW_HOME", str(folder / "home"))
        _run(world.ports, folder / "out", gold="simulated")
    return folder / "out"


def _json(report: Path, name: str) -> Any:
    return json.loads((report / f"{name}.json").read_text(encoding="utf-8"))


def test_every_metric_has_value_n_and_interval(report: Path) -> None:
    metrics = _json(report, "metrics")
    assert len(metrics) > 50
    for name, row in metrics.items():
        assert set(row) == {"value", "n", "ci_low", "ci_high"}, name
        assert row["n"] >= 1, name
        if row["ci_low"] is not None:
            assert row["ci_low"] - 1e-9 <= row["value"] <= row["ci_high"] + 1e-9, name


def test_the_promised_families_are_there(report: Path) -> None:
    names = {
        "reward_model.accuracy",
        "reward_model.accuracy_tie_half",
        "reward_model.ece10",
        "baseline.length.accuracy",
        "baseline.bag_of_words.accuracy",
        "implicit_reward.accuracy",
        "implicit_reward.accuracy.champion",
        "ranking.accuracy.reference",
        "kl.sequence_k1",
        "kl.token_k1",
        "kl.token_k3.champion",
        "length.mean.champion",
        "length.ratio_to_reference",
        "completions.eos_rate.reference",
        "judge.position_consistency",
        "contamination.exact",
        "gain.reward_model.vs_champion",
        "gain_within_length.gold.vs_reference",
    }
    names |= {f"win_rate.{s}.vs_{o}" for s in ("reward_model", "judge", "gold") for o in ("reference", "champion")}
    assert names <= set(_json(report, "metrics")) | set(_json(report, "slices")["missing"])
    assert {name for name in names if "within_length" not in name} <= set(_json(report, "metrics"))


def test_no_model_and_no_torch_are_loaded(world: World, tmp_path: Path) -> None:
    """Read in the spec, and seen in a fresh process."""
    import subprocess

    code = "import sys, components.evaluation.run; print(*(n for n in ('torch', 'transformers') if n in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_second_run_gives_the_same_bytes_in_any_order_of_inputs(report: Path, world: World, tmp_path: Path) -> None:
    ports = {port: paths[::-1] for port, paths in world.ports.items()}
    _run(ports, tmp_path / "again", gold="simulated")
    for file in sorted(report.iterdir()):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_what_is_missing_is_listed_with_its_reason(report: Path) -> None:
    missing = _json(report, "slices")["missing"]
    assert missing["win_rate.gold.vs_reference.group_min"].startswith("fewer than two sources")
    assert missing["reward_model.rm_bench.hard"].startswith("no comparison says the styles")
    assert not set(missing) & set(_json(report, "metrics"))


def test_headlines_are_what_a_person_asks_first_in_order(report: Path) -> None:
    lines = _json(report, "headlines")
    assert [line["metric"] for line in lines][:4] == [
        "reward_model.accuracy",
        "baseline.length.accuracy",
        "baseline.bag_of_words.accuracy",
        "implicit_reward.accuracy",
    ]
    labels = {line["metric"]: line["label"] for line in lines}
    assert labels["reward_model.accuracy"] == "reward model accuracy (held out)"
    assert labels["win_rate.judge.vs_champion"] == "win rate over champion (judge)"
    assert labels["win_rate.gold.vs_reference"] == "win rate over base (known truth)"
    assert labels["kl.sequence_k1"] == "KL to base (nats per answer)"
    assert [line["metric"] for line in lines][-2:] == ["kl.sequence_k1", "length.ratio_to_reference"]
    assert set(labels) <= set(_json(report, "metrics"))
    assert not [name for name in labels if name.endswith((".reference", ".champion"))]


def test_the_report_says_which_answers_and_policies_it_is_about(report: Path, world: World) -> None:
    systems = _json(report, "slices")["systems"]
    assert systems["candidate"] == {
        "samples": content_id(world.ports["candidate"][0]),
        "policy": content_id(world.ports["policy"][0]),
    }
    assert systems["champion"]["policy"] == "c" * 32


def test_the_random_sample_is_the_one_fixed_by_identity_and_prompt_set(report: Path, world: World) -> None:
    test = evidence(world.ports).test
    record = load_record(report)
    assert record is not None
    shown = draw(record.identity, test.hash, [prompt.source for prompt in test.prompts], 3)
    rows = [json.loads(line) for line in (report / "showcase.jsonl").read_text(encoding="utf-8").splitlines()]
    random = [row["prompt_key"] for row in rows if row["section"] == "random"]
    assert random == [test.prompts[i].key for i in shown]
    assert all("selection" in row and "rule" in row for row in rows if row["section"] == "selected")


def test_a_policy_against_itself(tmp_path: Path) -> None:
    """Every win rate exactly 0.5, KL exactly 0, every implicit reward a tie."""
    ports = World(tmp_path / "world", same=True).ports
    metrics = _run(ports, tmp_path / "out", gold="simulated").metrics
    for witness in ("reward_model", "judge", "gold"):
        assert metrics[f"win_rate.{witness}.vs_reference"]["value"] == 0.5
    assert metrics["kl.sequence_k1"]["value"] == pytest.approx(0, abs=1e-5)  # own log-probabilities are rounded
    assert metrics["implicit_reward.accuracy"]["value"] == 0.5
    assert metrics["completions.identical_to_reference"]["value"] == 1
    assert metrics["judge.position_consistency"]["n"] <= 12, "identical pairs say nothing about the judge"


def test_it_runs_on_answers_alone(world: World, tmp_path: Path) -> None:
    """Without scores and verdicts their metrics are missing by name, with the reason, and never 0."""
    ports = world.only("candidate", "reference", "dataset", "policy")
    record = _run(ports, tmp_path / "out")
    assert record.metrics["length.mean"]["n"] == 12
    assert not [name for name in record.metrics if name.startswith(("win_rate", "reward_model", "judge", "kl"))]
    missing = _json(tmp_path / "out", "slices")["missing"]
    assert missing["reward_model.accuracy"] == "no scores of a preference model were given"
    assert missing["win_rate.judge.vs_reference"] == "no verdicts of a judge were given"
    assert missing["judge.position_consistency"] == "no verdicts of a judge were given"
    assert "under the reference were given" in missing["kl.sequence_k1"]
    assert missing["implicit_reward.accuracy"].startswith("no log-probabilities of the comparisons")
    assert not [name for name in missing if "gold" in name], "the known truth was not asked for"


def test_only_chosen_measures_are_taken(world: World, tmp_path: Path) -> None:
    chosen = [{"name": "win_rate"}, {"name": "prefers_longer", "characters": 5}]
    record = _run(world.ports, tmp_path / "out", measures=chosen)
    assert set(record.metrics) <= {f"win_rate.{w}.vs_{o}" for w in ("reward_model", "judge") for o in
                                   ("reference", "champion")} | {"judge.prefers_longer"}  # fmt: skip
    assert record.params["measures"] == [
        {"name": "win_rate", "revision": 1},
        {"name": "prefers_longer", "revision": 1, "characters": 5},
    ], "name, revision and knobs of every measure are part of the identity"


def test_a_measure_stands_once(world: World, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="win_rate stands twice"):
        _run(world.ports, tmp_path / "out", measures=[{"name": "win_rate"}, {"name": "win_rate"}])


def test_the_reward_model_that_trained_the_candidate_is_refused(world: World, tmp_path: Path) -> None:
    policy = world.ports["policy"][0]
    lineage = {MODEL: {"identity": "2" * 32, "component": "reward_modeling@1"}}
    record = Record("policy_optimization@1", "1" * 32, {}, {"m": MODEL}, {"p": content_id(policy)}, lineage=lineage)
    record_path(policy).write_text(record.to_json())
    try:
        with pytest.raises(WiringError, match="trained the candidate"):
            _run(world.ports, tmp_path / "out")
        other = [save_reward_scores(tmp_path / "other", world.ports["dataset"][0], _systems(world), model="d" * 32)]
        assert "reward_model.accuracy" in _run({**world.ports, "scores": other}, tmp_path / "out").metrics
    finally:
        record_path(policy).unlink()


def _systems(world: World) -> dict[str, Path]:
    return {name: world.ports[name][0] for name in ("candidate", "reference", "champion")}

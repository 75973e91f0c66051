"""The whole component on tiny random models, through the contract."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from components.artifacts import content_id
from components.contract.params import build
from components.contract.record import Record, load_record, record_path
from components.contract.run import run_component
from components.errors import ParamsError, WiringError
from components.evaluation.params import Params
from components.evaluation.showcase import draw
from components.evaluation.systems import Tempered
from components.evaluation.testset import read_test_set
from components.records import read_records, validate
from components.sequences import Sequence
from components.training.logprobs import sequence_logprobs
from tests.components.evaluation.world import save_world, small
from tests.tiny import save_tiny_policy, tiny_model

Paths = dict[str, list[Path]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    return save_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home"))


def _run(world: Paths, out: Path, **more: object) -> Record:
    return run_component("evaluation", small(**more), world, {"report": out})


def _only(world: Paths, *ports: str, **more: Path) -> Paths:
    return {port: world[port] for port in ports} | {port: [path] for port, path in more.items()}


@pytest.fixture(scope="module")
def report(world: Paths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFLOW_HOME", str(folder / "home"))
        _run(world, folder / "out", use_judge=True, gold="simulated")
    return folder / "out"


def _metrics(report: Path) -> dict[str, dict]:
    return json.loads((report / "metrics.json").read_text())


def test_every_metric_has_value_n_and_interval(report: Path) -> None:
    metrics = _metrics(report)
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
        "baseline.length.accuracy",
        "baseline.bag_of_words.accuracy",
        "implicit_reward.accuracy",
        "ranking.accuracy.reference",
        "kl.sequence_k1",
        "kl.token_k1",
        "kl.token_k3",
        "length.mean.champion",
        "length.ratio_to_reference",
        "completions.eos_rate.reference",
        "judge.position_consistency",
        "contamination.exact",
    }
    names |= {f"win_rate.{s}.vs_{o}" for s in ("reward_model", "judge", "gold") for o in ("reference", "champion")}
    assert names <= set(_metrics(report))


def test_a_second_run_gives_the_same_bytes(report: Path, world: Paths, tmp_path: Path) -> None:
    _run(world, tmp_path / "again", use_judge=True, gold="simulated")
    for file in sorted(report.iterdir()):
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes(), file.name


def test_what_is_missing_is_listed_with_its_reason(report: Path) -> None:
    missing = json.loads((report / "slices.json").read_text())["missing"]
    assert missing["win_rate.gold.vs_reference.group_min"].startswith("fewer than two sources")
    assert not set(missing) & set(_metrics(report))


def test_verdicts_are_valid_records_of_both_orders_and_name_the_policies(report: Path, world: Paths) -> None:
    ids = {name: content_id(world[port][0]) for name, port in (("candidate", "policy"), ("champion", "champion"))}
    records = list(read_records(report / "verdicts.jsonl"))
    assert records
    for record in records:
        validate(record)
        orders = [j["shown_order"] for j in record["judgments"] if j["type"] == "pairwise"]
        assert orders[0] == orders[1][::-1]
        generators = {c["cid"]: c["generator"]["revision"] for c in record["candidates"]}
        assert generators["candidate"] == ids["candidate"]
        if "champion" in generators:
            assert generators["champion"] == ids["champion"]


def test_the_random_sample_is_the_one_fixed_by_identity_and_prompt_set(report: Path, world: Paths) -> None:
    test = read_test_set(world["dataset"][0], 200, 0)
    record = load_record(report)
    assert record is not None
    shown = draw(record.identity, test.hash, [prompt.source for prompt in test.prompts], 3)
    rows = [json.loads(line) for line in (report / "showcase.jsonl").read_text().splitlines()]
    random = [row["prompt_key"] for row in rows if row["section"] == "random"]
    assert random == [test.prompts[i].key for i in shown]
    assert all("selection" in row and "rule" in row for row in rows if row["section"] == "selected")


def test_a_policy_against_itself(world: Paths, tmp_path: Path) -> None:
    """Every win rate exactly 0.5, KL exactly 0, every implicit reward a tie."""
    inputs = _only(world, "dataset", "reward_model", policy=world["policy"][0], reference=world["policy"][0])
    metrics = _run(inputs, tmp_path / "out", use_judge=True, gold="simulated").metrics
    for scorer in ("reward_model", "judge", "gold"):
        assert metrics[f"win_rate.{scorer}.vs_reference"]["value"] == 0.5
    assert metrics["kl.sequence_k1"]["value"] == metrics["kl.token_k3"]["value"] == 0
    assert metrics["implicit_reward.accuracy"]["value"] == 0.5
    assert metrics["completions.identical_to_reference"]["value"] == 1
    assert "judge.position_consistency" not in metrics, "identical pairs say nothing about the judge"
    assert (tmp_path / "out" / "verdicts.jsonl").read_text() == "", "nobody was asked, so nobody said tie"


def test_exchanging_candidate_and_reference_mirrors_the_win_rates(report: Path, world: Paths, tmp_path: Path) -> None:
    inputs = _only(world, "dataset", "reward_model", policy=world["reference"][0], reference=world["policy"][0])
    metrics = _run(inputs, tmp_path / "out", use_judge=True, gold="simulated").metrics
    for scorer in ("reward_model", "judge", "gold"):
        name = f"win_rate.{scorer}.vs_reference"
        assert metrics[name]["value"] == pytest.approx(1 - _metrics(report)[name]["value"], abs=1e-12)


def test_it_runs_with_a_candidate_and_a_reference_only(world: Paths, tmp_path: Path) -> None:
    record = _run(_only(world, "policy", "reference", "dataset"), tmp_path / "out", n_prompts=4)
    assert record.metrics["length.mean"]["n"] == 4
    assert not [name for name in record.metrics if name.startswith(("win_rate", "reward_model", "judge"))]
    assert (tmp_path / "out" / "verdicts.jsonl").read_text() == ""


def test_the_reward_model_that_trained_the_candidate_is_refused(world: Paths, tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    shutil.copytree(world["policy"][0], policy)
    model = content_id(world["reward_model"][0])
    lineage = {model: {"identity": "2" * 32, "component": "reward_modeling@1"}}
    record = Record(
        "policy_optimization@1", "1" * 32, {}, {"m": model}, {"policy": content_id(policy)}, lineage=lineage
    )
    record_path(policy).write_text(record.to_json())
    inputs = {**world, "policy": [policy]}
    with pytest.raises(WiringError, match="trained the candidate"):
        _run(inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("sampler", [{"temperature": 0.0}, {"top_p": 0.9}])
def test_kl_is_missing_where_the_sampled_distribution_is_unknown(world: Paths, tmp_path: Path, sampler: dict) -> None:
    inputs = _only(world, "policy", "reference", "dataset")
    record = _run(inputs, tmp_path / "out", sampler={"max_new_tokens": 4, **sampler}, n_prompts=3)
    assert "kl.sequence_k1" not in record.metrics
    missing = json.loads((tmp_path / "out" / "slices.json").read_text())["missing"]
    assert "top_p" in missing["kl.sequence_k1"]


def test_kl_uses_the_sampling_temperature_on_both_sides(world: Paths, tmp_path: Path) -> None:
    """At a huge temperature both policies are uniform, whatever their weights: KL goes to 0."""
    inputs = _only(world, "policy", "reference", "dataset")
    hot = _run(inputs, tmp_path / "hot", sampler={"max_new_tokens": 8, "temperature": 1000.0}).metrics
    warm = _run(inputs, tmp_path / "warm", sampler={"max_new_tokens": 8}).metrics
    assert abs(hot["kl.token_k1"]["value"]) < 1e-2 < warm["kl.token_k1"]["value"]


def test_tempered_log_probabilities_are_those_of_divided_logits() -> None:
    model, row = tiny_model(), Sequence([1, 4, 9], [7, 8, 2])
    with torch.no_grad():
        logits = model(torch.tensor([[1, 4, 9, 7, 8, 2]])).logits[0, 2:5] / 0.7
    expected = logits.log_softmax(-1).gather(1, torch.tensor([[7], [8], [2]])).squeeze(1)
    found = sequence_logprobs(Tempered(model, 0.7), [row], device="cpu", precision="fp32", micro_batch_tokens=64)[0]
    assert found == pytest.approx(expected.tolist(), abs=1e-5)


def test_another_vocabulary_leaves_kl_out_and_says_so(world: Paths, tmp_path: Path) -> None:
    other = save_tiny_policy(tmp_path / "other", seed=4)
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    a, b = sorted(vocabulary, key=vocabulary.get)[10:12]
    vocabulary[a], vocabulary[b] = vocabulary[b], vocabulary[a]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    record = _run(_only(world, "policy", "dataset", reference=other), tmp_path / "out", n_prompts=3)
    missing = json.loads((tmp_path / "out" / "slices.json").read_text())["missing"]
    assert "vocabulary" in missing["kl.sequence_k1"]
    assert "vocabulary" in missing["length.ratio_to_reference"]
    assert "implicit_reward.accuracy" in record.metrics


def test_several_processes_are_refused() -> None:
    with pytest.raises(ParamsError, match=r"params\.compute\.processes: evaluation runs in one process"):
        build(Params, {"compute": {"processes": 2}}, "params")

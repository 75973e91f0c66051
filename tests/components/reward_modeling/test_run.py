"""The component from end to end on tiny data: what it learns, what it reports, what it refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from components.artifacts import content_id
from components.contract import Record, run_component
from components.errors import ArtifactError, ParamsError, RecordError
from components.preference_models import Text, TextPair
from components.preference_models.model import PreferenceModel, load_preference_model
from components.preference_models.network import save_network
from components.records import comparisons, read_records
from components.training.lora import merge_adapters
from components.training.params import Compute
from tests.components.reward_modeling.helpers import labelled_pairs, record, sentence, write_dataset
from tests.tiny import save_tiny_policy

FAST: dict[str, Any] = {"learning_rate": 3.0e-3, "batch_size": 16, "epochs": 8, "warmup": 0.0, "schedule": "constant"}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("base") / "policy", initializer_range=0.05)


def fit(tmp_path: Path, policy: Path, dataset: Path, name: str = "model", **params: Any) -> tuple[Path, Record]:
    settings = {"optimization": FAST, "compute": {"threads": 1}, "max_length": 128, **params}
    paths = {"dataset": [dataset], "base": [policy]}
    return tmp_path / name, run_component("reward_modeling", settings, paths, {"model": tmp_path / name})


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "dataset"
    return write_dataset(folder, labelled_pairs(64, 0), labelled_pairs(20, 1), labelled_pairs(20, 2))


def log_of(model: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (model / "training_log.jsonl").read_text().splitlines()]


def test_it_learns_what_is_preferred_and_reports_it(tmp_path: Path, policy: Path, dataset: Path) -> None:
    model, made = fit(tmp_path, policy, dataset)
    metrics: dict[str, Any] = made.metrics
    assert metrics["test/accuracy_strict"]["value"] >= 0.9
    assert metrics["test/accuracy_strict"]["n"] == metrics["test/n"] == 20
    assert metrics["test/accuracy_strict"]["ci_low"] < metrics["test/accuracy_strict"]["value"]
    assert metrics["test/bag_of_words_baseline"]["value"] == 1.0  # one word decides: a bag of words knows it too
    assert metrics["test/accuracy_tie_half/source=tests"] == metrics["test/accuracy_tie_half"]
    log = log_of(model)
    assert log[-1]["loss"] < 0.2 < 0.4 < log[0]["loss"]
    assert {"min_reward", "mean_reward", "max_reward", "accuracy", "margin", "loss", "lr", "step"} <= set(log[0])
    card = json.loads((model / "card.json").read_text())
    assert card["reward"]["n"] == 128
    assert card["metrics"]["test/accuracy_strict"] == metrics["test/accuracy_strict"]
    assert card["kind"] == {"name": "scalar", "revision": 1}
    assert card["objective"] == {"name": "bradley_terry", "revision": 1, "centering": 0.0}
    assert (card["base"], card["dataset"]) == (content_id(policy), content_id(dataset))
    execution = json.loads((tmp_path / "model.execution.json").read_text())
    assert execution["examples_per_second"] > 0
    assert execution["peak_rss_bytes"] > 0


def asked(model: PreferenceModel, dataset: Path) -> list[float]:
    """P(chosen preferred) of the test comparisons."""
    items = comparisons(read_records(dataset / "test.jsonl")).items
    return model.compare([TextPair(item.messages, item.chosen, item.rejected) for item in items])


def test_the_reloaded_model_gives_the_reported_numbers(tmp_path: Path, policy: Path, dataset: Path) -> None:
    path, made = fit(tmp_path, policy, dataset, optimization={**FAST, "epochs": 2})
    model = load_preference_model(path, Compute(threads=1))
    p = np.array(asked(model, dataset))
    items = comparisons(read_records(dataset / "test.jsonl")).items
    chosen, rejected = (
        np.array(model.score([Text(item.messages, getattr(item, side)) for item in items]))
        for side in ("chosen", "rejected")
    )
    assert (chosen > rejected).mean() == (p > 0.5).mean() == made.metrics["test/accuracy_strict"]["value"]
    assert (chosen - rejected).mean() == pytest.approx(made.metrics["test/margin"]["value"], abs=1e-6)


CYCLE = [("fox", "dog"), ("dog", "colour"), ("colour", "fox")]


@pytest.mark.parametrize(
    ("kind", "objective"),
    [("scalar", "bradley_terry"), ("scalar", "general_preference"), ("gpm", "general_preference")],
)
def test_preferences_that_go_round_in_circles_need_a_kind_that_can(
    tmp_path: Path, policy: Path, kind: str, objective: str
) -> None:
    """Rock, paper, scissors: a score can be right about two of three pairs at most, whatever its objective."""
    rows = [record("which one", winner, loser) for winner, loser in CYCLE]
    dataset = write_dataset(tmp_path / "data", rows, [], rows)
    settings = {"kind": {"name": kind}, "objective": {"name": objective}}
    optimization = {**FAST, "epochs": 60, "batch_size": 3, "learning_rate": 1.0e-3}
    path, made = fit(tmp_path, policy, dataset, optimization=optimization, **settings)
    model = load_preference_model(path, Compute(threads=1))
    found = asked(model, dataset)
    assert (np.array(found) > 0.5).mean() == made.metrics["test/accuracy_strict"]["value"]
    if kind == "gpm":
        assert min(found) > 0.9
        assert "reward/mean" not in made.metrics
        assert json.loads((path / "card.json").read_text())["kind"]["temperature"] == 0.1
        assert model.score([]) is None
    else:
        assert sum(p > 0.5 for p in found) <= 2
        assert made.metrics["test/nll"] >= math.log(2)


@pytest.mark.parametrize("kind", ["scalar_mean", "gpm"])
def test_every_kind_learns_what_is_preferred(tmp_path: Path, policy: Path, dataset: Path, kind: str) -> None:
    path, made = fit(tmp_path, policy, dataset, kind={"name": kind}, objective={"name": "general_preference"})
    assert made.metrics["test/accuracy_strict"]["value"] >= 0.9
    p = np.array(asked(load_preference_model(path, Compute(threads=1)), dataset))
    assert (p > 0.5).mean() == made.metrics["test/accuracy_strict"]["value"], "saved is what was trained"
    assert np.mean((1 - p) ** 2) == pytest.approx(made.metrics["test/brier"], abs=1e-6)
    assert {"accuracy", "margin"} <= set(log_of(path)[0])


def test_an_objective_that_asks_for_scores_is_refused_where_there_are_none(
    tmp_path: Path, policy: Path, dataset: Path
) -> None:
    with pytest.raises(ParamsError, match="needs 'chosen_scores', which a gpm model does not give"):
        fit(tmp_path, policy, dataset, kind={"name": "gpm"})
    with pytest.raises(ParamsError, match="does not fit this step"):
        fit(tmp_path, policy, dataset, kind={"name": "mean_of_members"})


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, policy: Path, dataset: Path) -> None:
    short = {**FAST, "epochs": 1}
    _, first = fit(tmp_path, policy, dataset, "first", optimization=short)
    _, second = fit(tmp_path, policy, dataset, "second", optimization=short)
    assert first.outputs == second.outputs
    _, other = fit(tmp_path, policy, dataset, "other", optimization=short, seed=1)
    assert other.outputs != first.outputs


def test_32_pairs_are_learned_by_heart(tmp_path: Path, policy: Path) -> None:
    """Labels without any rule behind them: only memory gets them all right."""
    rows = [record(f"question {i}", *sides) for i, sides in enumerate(random_sides(32))]
    dataset = write_dataset(tmp_path / "data", rows, [], [])
    model, made = fit(tmp_path, policy, dataset, optimization={**FAST, "epochs": 40})
    assert log_of(model)[-1]["accuracy"] == 1.0
    assert made.metrics["test/n"] == 0


def random_sides(n: int, seed: int = 0) -> list[tuple[str, str]]:
    rng = np.random.default_rng(seed)
    return [(sentence(rng), sentence(rng)) for _ in range(n)]


def test_random_labels_teach_nothing(tmp_path: Path, policy: Path) -> None:
    sides = [record(f"question {i}", *pair) for i, pair in enumerate(random_sides(160, seed=3))]
    dataset = write_dataset(tmp_path / "data", sides[:60], [], sides[60:])
    _, made = fit(tmp_path, policy, dataset, optimization={**FAST, "epochs": 4})
    found: Any = made.metrics["test/accuracy_tie_half"]
    assert found["ci_low"] < 0.5 < found["ci_high"]


def test_adapters_are_merged_into_the_saved_model(tmp_path: Path, policy: Path, dataset: Path) -> None:
    model, made = fit(tmp_path, policy, dataset, lora={"rank": 4, "alpha": 8.0}, optimization={**FAST, "epochs": 2})
    assert not (model / "adapter_config.json").exists()
    plain, _ = fit(tmp_path, policy, dataset, "plain", optimization={**FAST, "max_steps": 1})
    merged, other = (load_file(path / "model.safetensors") for path in (model, plain))
    assert merged.keys() == other.keys()
    assert (merged["score.weight"] != other["score.weight"]).any(), "the head is trained too"
    assert made.metrics["test/n"] == 20


@pytest.mark.parametrize("objective", ["bradley_terry_soft", "general_preference_soft"])
def test_hard_objectives_leave_ties_out_and_soft_ones_learn_them(tmp_path: Path, policy: Path, objective: str) -> None:
    rows = labelled_pairs(12, 0) + [record(f"tied {i}", "one fox", "two dogs", outcome="tie") for i in range(4)]
    dataset = write_dataset(tmp_path / "data", rows, rows[8:], [])
    short = {**FAST, "epochs": 1}
    _, hard = fit(tmp_path, policy, dataset, "hard", optimization=short)
    assert (hard.metrics["train/n"], hard.metrics["train/left_out/ties"]) == (12, 4)
    _, soft = fit(tmp_path, policy, dataset, "soft", optimization=short, objective={"name": objective})
    assert soft.metrics["train/n"] == 16
    assert "train/left_out/ties" not in soft.metrics
    assert (soft.metrics["validation/n"], soft.metrics["validation/left_out/ties"]) == (4, 4)


def test_a_margin_asks_for_a_larger_difference(tmp_path: Path, policy: Path) -> None:
    rows = [record(f"question {i}", "a fox", "a dog", strength=3.0, strength_scale=[0, 3]) for i in range(8)]
    dataset = write_dataset(tmp_path / "data", rows, [], rows)
    one_step = {**FAST, "max_steps": 1, "batch_size": 8, "learning_rate": 1.0e-9}
    plain = log_of(fit(tmp_path, policy, dataset, "plain", optimization=one_step)[0])
    asked = log_of(
        fit(tmp_path, policy, dataset, "asked", optimization=one_step, objective={"name": "bradley_terry_margin"})[0]
    )
    assert asked[0]["loss"] > plain[0]["loss"] + 0.25
    assert asked[0]["margin"] == plain[0]["margin"]


def test_identical_completions_are_left_out_and_counted(tmp_path: Path, policy: Path) -> None:
    dataset = write_dataset(tmp_path / "data", [*labelled_pairs(8, 0), record("same", "a fox", "a fox")], [], [])
    _, made = fit(tmp_path, policy, dataset, optimization={**FAST, "epochs": 1})
    assert made.metrics["train/n"] == 8
    assert made.metrics["train/left_out/identical"] == 1


def test_a_text_over_the_limit_is_an_error_that_names_it(tmp_path: Path, policy: Path) -> None:
    rows = [*labelled_pairs(4, 0), record("long", "fox " * 60, "dog")]
    dataset = write_dataset(tmp_path / "data", rows, [], [])
    with pytest.raises(RecordError, match=rf"1 too long .*{rows[-1]['record_id']}"):
        fit(tmp_path, policy, dataset, max_length=64)


def test_lora_targets_are_checked_before_the_data_are_read(tmp_path: Path, policy: Path) -> None:
    """A reward model has no output layer of the vocabulary to adapt."""
    dataset = write_dataset(tmp_path / "data", [], [], [])
    for targets, message in (
        (["q_proj", "lm_head"], r"\(got lm_head\). Choose from"),
        (["score"], r"\(got score: No modules were targeted"),  # it is trained in full
    ):
        with pytest.raises(ParamsError, match=rf"^reward_modeling.lora.targets: .*{message}"):
            fit(tmp_path, policy, dataset, lora={"rank": 2, "targets": targets})


def test_nothing_to_learn_from_is_bad_data(tmp_path: Path, policy: Path) -> None:
    dataset = write_dataset(tmp_path / "data", [], [], labelled_pairs(2, 0))
    with pytest.raises(ArtifactError, match="no examples to train on"):
        fit(tmp_path, policy, dataset)


@pytest.mark.parametrize(
    ("choice", "message"), [("dpo", "does not fit"), ("bradley_tery", "Did you mean 'bradley_terry'")]
)
def test_an_objective_for_policies_or_a_typo_is_refused(
    tmp_path: Path, policy: Path, dataset: Path, choice: str, message: str
) -> None:
    with pytest.raises(ParamsError, match=message):
        fit(tmp_path, policy, dataset, objective={"name": choice})


def test_a_model_that_is_not_the_trained_one_is_no_output(
    tmp_path: Path, policy: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A head that gets lost in the merge, and weights that are cast where they are saved."""

    def merge(model: Any) -> Any:
        merged = merge_adapters(model)
        merged.score.weight.data.mul_(0.5)
        return merged

    def cast(model: Any, tokenizer: Any, folder: Path) -> None:
        save_network(model.bfloat16().float(), tokenizer, folder)

    settings = {"lora": {"rank": 2}, "optimization": {**FAST, "max_steps": 1}}
    for name, value, message in (
        ("merge_adapters", merge, "what would be saved is not what was trained .*adapters on all-linear"),
        ("save_network", cast, "what was saved is not what was trained"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(f"components.reward_modeling.run.{name}", value)
            with pytest.raises(ArtifactError, match=f"^reward_modeling: {message}"):
                fit(tmp_path, policy, dataset, name, **settings)
        assert not (tmp_path / name).exists()


@pytest.mark.filterwarnings("ignore:Model (has|with)")
@pytest.mark.parametrize("targets", [["q_proj", "score"], ["embed_tokens", "q_proj"]])
def test_adapters_on_the_head_or_the_embeddings_are_merged_as_they_were_trained(
    tmp_path: Path, dataset: Path, targets: list[str]
) -> None:
    """Embeddings that a policy's output layer shares are those of a preference model alone."""
    base = save_tiny_policy(tmp_path / "tied", tie_word_embeddings=True)
    settings = {"lora": {"rank": 2, "targets": targets}, "optimization": {**FAST, "max_steps": 3}}
    _, made = fit(tmp_path, base, dataset, **settings)
    assert made.metrics["train/steps"] == 3

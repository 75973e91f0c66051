"""The component from artifacts to artifacts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from components.contract.table import Row
from components.errors import ArtifactError, ParamsError, RecordError
from components.objectives import OBJECTIVES
from components.records import make_record, simple_task, text_candidate
from components.sequences import Sequence
from components.training import scoring_check
from components.training.params import Compute
from components.training.runtime import load_policy
from tests.components.policy_optimization.helpers import (
    inputs,
    log,
    optimize,
    pair_record,
    save_dataset,
    texts,
)
from tests.tiny import save_tiny_policy

TRAINABLE = [row.name for row in OBJECTIVES if row.facts["family"] == "policy"]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_objective_lowers_its_own_loss(name: str, tmp_path: Path) -> None:
    """50 steps on 32 synthetic comparisons: finite throughout, lower at the end, on unseen prompts too."""
    record = optimize(tmp_path, objective={"name": name}, optimization={"max_steps": 50, "learning_rate": 1e-3})
    lines = log(tmp_path)
    assert len(lines) == 50
    assert all(np.isfinite(value) for line in lines for value in line.values())
    assert np.mean([line["loss"] for line in lines[-5:]]) < 0.8 * np.mean([line["loss"] for line in lines[:2]])
    assert record.metrics["validation/loss"]["n"] in (8, 16)
    if "rewards/accuracies" in lines[-1]:
        assert record.metrics["validation/rewards/accuracies"]["value"] > 0.8


def test_dpo_starts_at_log_two_with_no_margin(tmp_path: Path) -> None:
    optimize(tmp_path)
    first = log(tmp_path)[0]
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-5)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    one = optimize(tmp_path, "one")
    other = optimize(tmp_path, "other")
    assert one.to_json() == other.to_json()


def test_the_saved_policy_reproduces_its_scoring_check_exactly(tmp_path: Path) -> None:
    optimize(tmp_path)
    folder = tmp_path / "out" / "policy"
    items = json.loads((folder / "scoring_check.json").read_text())["items"]
    assert len(items) == 8
    compute = Compute(threads=1)
    scores, wanted = scored(folder, items, compute), [item["logprob"] for item in items]
    assert scores == wanted
    assert scored(tmp_path / "policy", items, compute) != pytest.approx(wanted, abs=0.1)


def scored(folder: Path, items: list[dict[str, Any]], compute: Compute) -> list[float]:
    rows = [Sequence(item["prompt_ids"], item["completion_ids"]) for item in items]
    return scoring_check.score(load_policy(folder, compute)[0], rows, compute)


def test_the_reference_stays_the_starting_policy(tmp_path: Path) -> None:
    """Training several epochs changes the policy only: rewards are measured against what was recorded before."""
    optimize(tmp_path, optimization={"epochs": 4})
    recorded = load_file(tmp_path / "out" / "reference_logprobs" / "logprobs.safetensors")
    optimize(tmp_path, "again", optimization={"epochs": 1})
    again = load_file(tmp_path / "again" / "reference_logprobs" / "logprobs.safetensors")
    np.testing.assert_array_equal(recorded["train"], again["train"])
    assert recorded["train"].shape == (2, 32)
    assert recorded["validation"].shape == (2, 8)


def test_another_reference_is_used_and_recorded(tmp_path: Path) -> None:
    own = inputs(tmp_path)
    other = save_tiny_policy(tmp_path / "other", seed=1)
    record = optimize(tmp_path, paths={**own, "reference": [other]})
    manifest = json.loads((tmp_path / "out" / "reference_logprobs" / "manifest.json").read_text())
    assert manifest["key"]["reference"] == record.inputs["reference"]
    assert log(tmp_path)[0]["loss"] != pytest.approx(np.log(2), abs=1e-3)


def test_a_reference_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    own = inputs(tmp_path)
    other = save_tiny_policy(tmp_path / "other", seed=1)
    text = (other / "tokenizer.json").read_text().replace("<|user|>", "<|person|>")
    (other / "tokenizer.json").write_text(text)
    with pytest.raises(ArtifactError, match="its tokenizer is not the policy's"):
        optimize(tmp_path, paths={**own, "reference": [other]})


def test_a_tampered_cache_is_caught_at_step_zero(tmp_path: Path) -> None:
    optimize(tmp_path)
    file = next((tmp_path / "home" / "cache" / "reference_logprobs").glob("*/logprobs.safetensors"))
    save_file({name: array + 3.0 for name, array in load_file(file).items()}, file)
    with pytest.raises(ArtifactError, match="step 0"):
        optimize(tmp_path, "again")


def test_objectives_without_reference_quantities_run_no_reference(tmp_path: Path) -> None:
    optimize(tmp_path, objective={"name": "orpo"})
    manifest = json.loads((tmp_path / "out" / "reference_logprobs" / "manifest.json").read_text())
    assert manifest["shapes"] == {}
    assert not (tmp_path / "home" / "cache" / "reference_logprobs").exists()


def test_shared_prompts_change_nothing_but_rounding(tmp_path: Path) -> None:
    """The same batches, losses and weights, whichever way a prompt is computed."""
    settings = {"optimization": {"epochs": 3, "micro_batch_tokens": 256}}
    shared = optimize(tmp_path, "shared", shared_prompts="always", **settings)
    apart = optimize(tmp_path, "apart", shared_prompts="never", **settings)
    assert (shared.metrics["train/shared_prompts"], apart.metrics["train/shared_prompts"]) == (True, False)
    signs = {
        "rewards/accuracies",
        "logratio/chosen_down",
    }  # of margins that are zero at step 1: there, rounding decides
    for one, other in zip(log(tmp_path, "shared"), log(tmp_path, "apart"), strict=True):
        compared = one.keys() - (signs if one["step"] == 1 else set())
        assert {key: one[key] for key in compared} == pytest.approx({key: other[key] for key in compared}, 1e-3, 1e-4)
    ours, theirs = (load_policy(tmp_path / name / "policy", Compute())[0] for name in ("shared", "apart"))
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], atol=1e-4, rtol=0)


def test_lora_trains_merges_and_keeps_the_shape_of_the_model(tmp_path: Path) -> None:
    optimize(tmp_path, lora={"rank": 4, "alpha": 8.0}, optimization={"epochs": 8, "learning_rate": 5e-3})
    assert log(tmp_path)[0]["loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert log(tmp_path)[-1]["loss"] < 0.5
    start, trained = (load_policy(tmp_path / place, Compute())[0] for place in ("policy", "out/policy"))
    assert trained.state_dict().keys() == start.state_dict().keys()
    assert torch.equal(trained.lm_head.weight, start.lm_head.weight)
    assert not torch.equal(trained.model.layers[0].mlp.up_proj.weight, start.model.layers[0].mlp.up_proj.weight)


def test_ties_are_counted_and_an_empty_validation_split_is_fine(tmp_path: Path) -> None:
    save_tiny_policy(tmp_path / "policy")
    rows = [pair_record(*text) for text in texts(9)] + [pair_record("equal?", "yes", "no", "tie")]
    save_dataset(tmp_path / "dataset", rows)
    record = optimize(tmp_path)
    assert record.metrics["data/ties"] == 1
    assert record.metrics["data/examples"] == 9
    assert not any(name.startswith("validation/") for name in record.metrics)


def test_feedback_without_a_usable_example_is_an_error_with_the_counts(tmp_path: Path) -> None:
    save_tiny_policy(tmp_path / "policy")
    save_dataset(tmp_path / "dataset", [pair_record("equal?", "yes", "no", "tie")])
    with pytest.raises(ArtifactError, match=r"no example of the view pair to train on \(got ties 1\)"):
        optimize(tmp_path)


def test_kto_needs_two_rows_in_a_batch(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match="got a batch of 1"):
        optimize(tmp_path, objective={"name": "kto"}, optimization={"batch_size": 1})


def test_kto_does_not_depend_on_micro_batches(tmp_path: Path) -> None:
    """The reference point belongs to the global batch, also where micro-batches hold a single row of one class."""
    for name, budget in (("one", 1), ("all", 8192)):
        optimize(tmp_path, name, objective={"name": "kto"}, optimization={"micro_batch_tokens": budget})
    for one, other in zip(log(tmp_path, "one"), log(tmp_path, "all"), strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["kl"] == pytest.approx(other["kl"], abs=1e-4)


def test_rows_are_limited_by_the_models_positions_below_max_length(tmp_path: Path) -> None:
    """As in curation and in reward modeling: one rule."""
    paths = inputs(tmp_path)
    save_tiny_policy(tmp_path / "policy", max_position_embeddings=16)
    with pytest.raises(RecordError, match=r"17 too long .* max_length 16"):
        optimize(tmp_path, paths=paths, max_length=512)


def test_lora_targets_are_checked_before_the_data_are_read(tmp_path: Path) -> None:
    paths = inputs(tmp_path)
    (tmp_path / "dataset/train.jsonl").write_text("not read\n")
    with pytest.raises(ParamsError, match=r"^policy_optimization.lora.targets: .*\(got no_such_layer\)"):
        optimize(tmp_path, paths=paths, lora={"rank": 4, "targets": ["no_such_layer"]})


@OBJECTIVES.row(family="policy", view="pair")
def soft(chosen_logps: Tensor, rejected_logps: Tensor, preference_probability: Tensor) -> Tensor:
    return (torch.sigmoid(0.1 * (chosen_logps - rejected_logps)) - preference_probability).square()


def test_a_new_objective_needs_no_change_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes probabilities: ties are then kept, and no reference is run."""
    needs = ("chosen_logps", "rejected_logps", "preference_probability")
    row = Row("soft", "-", "-", __name__, "soft", is_class=False, needs=needs, facts=soft.__rows__["soft"])
    monkeypatch.setitem(OBJECTIVES.rows, "soft", row)
    save_tiny_policy(tmp_path / "policy")
    rows = [pair_record(*text) for text in texts(15)] + [pair_record("equal?", "yes", "no", "tie")]
    save_dataset(tmp_path / "dataset", rows)
    record = optimize(tmp_path, objective={"name": "soft"}, optimization={"epochs": 10})
    assert record.metrics["data/examples"] == 16
    assert log(tmp_path)[-1]["loss"] < log(tmp_path)[0]["loss"]


@OBJECTIVES.row(family="policy", view="pair", trains={"temperature": 0.05}, reward=lambda logps, *, beta: beta * logps)
def tempered(chosen_logps: Tensor, rejected_logps: Tensor, temperature: Tensor, *, beta: float = 1.0) -> Tensor:
    return -torch.nn.functional.logsigmoid(beta * temperature * (chosen_logps - rejected_logps))


def test_a_number_of_an_objective_is_trained_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ("chosen_logps", "rejected_logps", "temperature")
    facts = tempered.__rows__["tempered"]
    row = Row("tempered", "-", "-", __name__, "tempered", is_class=False, needs=needs, facts=facts)
    monkeypatch.setitem(OBJECTIVES.rows, "tempered", row)
    record = optimize(tmp_path, objective={"name": "tempered"}, optimization={"epochs": 5})
    lines = log(tmp_path)
    assert lines[-1]["trained/temperature"] == record.metrics["train/temperature"] != 0.05
    assert record.metrics["validation/loss"]["value"] < np.log(2)


def ranked_dataset(folder: Path) -> Path:
    """Lists of two to four completions, some tied; the word "good" comes before "bad" and "worse"."""
    rows = []
    for i, (prompt, good, bad) in enumerate(texts(40)):
        tiers = [[good], [bad, "bad"], ["worse " + bad]][: 1 + i % 3] if i % 3 else [[good], [bad]]
        names = {text: f"c{k}" for k, text in enumerate(text for tier in tiers for text in tier)}
        judgment = {"type": "ranking", "tiers": [[names[text] for text in tier] for tier in tiers], "complete": True}
        rows.append(
            make_record(
                task=simple_task(prompt),
                candidates=[text_candidate(name, text) for text, name in names.items()],
                judgments=[judgment],
                annotator={"id": "t", "kind": "human"},
                provenance={"source": "test"},
            )
        )
    return save_dataset(folder, rows[:32], rows[32:])


def weights_of(tmp_path: Path, name: str) -> dict[str, Tensor]:
    return dict(load_policy(tmp_path / name / "policy", Compute())[0].state_dict())


def assert_close(tmp_path: Path, one: str, other: str, tolerance: float = 1e-4) -> None:
    theirs = weights_of(tmp_path, other)
    for name, value in weights_of(tmp_path, one).items():
        torch.testing.assert_close(value, theirs[name], atol=tolerance, rtol=0, msg=name)


def test_lists_of_any_length_train_alike_in_every_layout(tmp_path: Path) -> None:
    """Plackett-Luce on two to four completions: prompts shared or not, micro-batches of one list or of all."""
    save_tiny_policy(tmp_path / "policy")
    ranked_dataset(tmp_path / "dataset")
    ways: dict[str, dict[str, Any]] = {
        "shared": {"shared_prompts": "always"},
        "apart": {"shared_prompts": "never"},
        "micro": {"shared_prompts": "always", "optimization": {"epochs": 3, "micro_batch_tokens": 1}},
    }
    for name, settings in ways.items():
        changes = {"objective": {"name": "plackett_luce"}, "optimization": {"epochs": 3}, **settings}
        record = optimize(tmp_path, name, **changes)
        assert record.metrics["train/shared_prompts"] == (name != "apart")
    assert_close(tmp_path, "shared", "apart")
    assert_close(tmp_path, "shared", "micro")
    assert log(tmp_path, "shared")[0]["rewards/margins"] == pytest.approx(0, abs=1e-5)
    assert log(tmp_path, "shared")[-1]["rewards/accuracies"] > 0.8
    reference = load_file(tmp_path / "shared" / "reference_logprobs" / "logprobs.safetensors")["train"]
    assert reference.shape == (4, 32)


def test_tdpo_without_its_second_term_is_dpo_against_a_live_reference(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"optimization": {"epochs": 2, "micro_batch_tokens": 300}}
    optimize(tmp_path, "tdpo", objective={"name": "tdpo2", "alpha": 0.0}, **settings)
    optimize(tmp_path, "dpo", **settings)
    assert_close(tmp_path, "tdpo", "dpo")
    manifest = json.loads((tmp_path / "tdpo" / "reference_logprobs" / "manifest.json").read_text())
    assert manifest == {"key": {"reference": "run beside the policy: fixed"}, "shapes": {}}
    optimize(tmp_path, "other", objective={"name": "tdpo2", "alpha": 5.0}, **settings)
    with pytest.raises(AssertionError):
        assert_close(tmp_path, "other", "dpo")


def test_every_reference_that_does_not_move_trains_the_same_policy(tmp_path: Path) -> None:
    lora: dict[str, Any] = {"lora": {"rank": 2}, "optimization": {"epochs": 2, "learning_rate": 5e-3}}
    for name in ("fixed", "live", "adapter_off"):
        optimize(tmp_path, name, reference={"name": name}, **lora)
    assert_close(tmp_path, "fixed", "live")
    assert_close(tmp_path, "fixed", "adapter_off")


def test_a_reference_that_moves_to_the_policy_brings_the_margin_back_to_zero(tmp_path: Path) -> None:
    """`mix` 1 every 2 steps: in steps 1, 3, 5 the policy is its own reference."""
    optimize(tmp_path, reference={"name": "moving", "mix": 1.0, "every": 2}, optimization={"epochs": 2})
    margins = [abs(line["rewards/margins"]) for line in log(tmp_path)]
    assert max(margins[0::2]) < 1e-5 < min(margins[1::2])


KILLED = """
import json, os, signal, sys
from pathlib import Path
from components.training import loop
from tests.components.policy_optimization.helpers import optimize
step = loop._Loop.step
def cut(self, number, *rest):
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self, number, *rest)
loop._Loop.step = cut
optimize(Path(sys.argv[1]), "killed", **json.loads(sys.argv[2]))
"""


@pytest.mark.parametrize(
    "state",
    [
        {"objective": {"name": "kto"}},  # batches, mismatched rows and their reference point
        {"objective": {"name": "bco"}},  # a running mean
        {"reference": {"name": "moving", "mix": 0.5, "every": 2}},  # weights that are no policy's
        {"lora": {"rank": 2}, "reference": {"name": "adapter_off"}},  # adapters, merged at the end
    ],
    ids=lambda state: json.dumps(state),
)
def test_a_killed_run_resumes_to_the_same_bytes(state: dict[str, Any], tmp_path: Path) -> None:
    settings: dict[str, Any] = {**state, "optimization": {"epochs": 3, "checkpoint_every": 3}}
    straight = optimize(tmp_path, "straight", **settings)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), json.dumps(settings)], env=environment, capture_output=True
    )
    assert child.returncode == -9
    assert list((tmp_path / "home" / "work").glob("*/step-00000006"))
    assert not (tmp_path / "killed" / "policy").exists()
    assert optimize(tmp_path, "killed", **settings).to_json() == straight.to_json()
    assert not list((tmp_path / "home" / "work").iterdir())


def test_bf16_passes_step_zero_with_shared_prompts_adapters_and_gradient_checkpointing(tmp_path: Path) -> None:
    record = optimize(
        tmp_path,
        compute={"precision": "bf16"},
        lora={"rank": 2},
        optimization={"gradient_checkpointing": True, "epochs": 2, "micro_batch_tokens": 128},
    )
    assert log(tmp_path)[0]["loss"] == pytest.approx(np.log(2), abs=0.02)
    assert np.isfinite(record.metrics["validation/loss"]["value"])

"""What a step computes does not depend on how its batch is split, and nothing is dropped in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from components.errors import ArtifactError, ParamsError
from components.training.engine import adamw
from components.training.loop import State, plan, write_log
from components.training.params import Optimization
from tests.components.training.helpers import fit, logistic, margins, pair_task, pairs, weights
from tests.tiny import tiny_model

PAIRS = pairs(24)


def assert_same_weights(one: nn.Module, other: nn.Module, tolerance: float = 2e-5) -> None:
    for name, value in weights(one).items():
        torch.testing.assert_close(value, weights(other)[name], atol=tolerance, rtol=0, msg=name)


def brute_force(steps: int, **settings: Any) -> tuple[nn.Module, list[float]]:
    """The same training written plainly: one example at a time, gradients summed, mean over the batch."""
    model = tiny_model()
    optimization = Optimization(learning_rate=1e-3, warmup=0.0, schedule="constant", batch_size=8, max_steps=steps)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    losses = []
    for rows in plan(pair_task(PAIRS).lengths, optimization, seed=0):
        total = 0.0
        for row in rows:
            loss = logistic(margins(model, [PAIRS[row]])).sum() / len(rows)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return model, losses


@pytest.mark.parametrize("budget", [1, 60, 130, 100_000])
def test_micro_batches_change_nothing(budget: int, tmp_path: Path) -> None:
    """1 x 8 == 2 x 4 == 8 x 1, and all equal a plain loop over single examples."""
    model, losses = brute_force(4)
    ours = tiny_model()
    trained = fit(ours, pair_task(PAIRS), tmp_path, max_steps=4, micro_batch_tokens=budget)
    assert [line["loss"] for line in trained.log] == pytest.approx(losses, abs=1e-5)
    assert_same_weights(ours, model)


def test_the_loss_is_the_weighted_sum_over_the_number_of_rows(tmp_path: Path) -> None:
    """Weights are factors, not shares: doubling all of them doubles the loss and the gradient."""
    once = fit(tiny_model(), pair_task(PAIRS), tmp_path / "a", max_steps=1)
    twice = fit(tiny_model(), pair_task(PAIRS, weights=[2.0] * 24), tmp_path / "b", max_steps=1)
    assert twice.log[0]["loss"] == pytest.approx(2 * once.log[0]["loss"], rel=1e-5)
    assert twice.log[0]["grad_norm"] == pytest.approx(2 * once.log[0]["grad_norm"], rel=1e-4)


def test_a_row_of_weight_zero_counts_as_a_row_but_teaches_nothing(tmp_path: Path) -> None:
    first = next(plan(pair_task(PAIRS).lengths, Optimization(batch_size=8), seed=0))
    factors = [1.0] * 24
    factors[first[0]] = 0.0
    line = fit(tiny_model(), pair_task(PAIRS, weights=factors), tmp_path, max_steps=1).log[0]
    with torch.no_grad():
        losses = logistic(margins(tiny_model(), [PAIRS[row] for row in first]))
    assert line["loss"] == pytest.approx(losses[1:].sum().item() / 8, rel=1e-5)


def spoil(rows: set[int], examples: list[Any]) -> Any:
    """A loss that is not finite (value and gradient) for the examples with these numbers."""
    marks = {id(examples[row]) for row in rows}

    def forward(model: nn.Module, batch: list[Any]) -> dict[str, Tensor]:
        bad = torch.tensor([id(example) in marks for example in batch])
        quantities = margins(model, batch)
        quantities["chosen_logps"] = quantities["chosen_logps"] * torch.where(bad, float("nan"), 1.0)
        return quantities

    return forward


def test_rows_with_a_non_finite_loss_are_dropped_and_counted(tmp_path: Path) -> None:
    """The step is the one that the good rows alone would have given: sum over them, divided by their number."""
    examples = pairs(160)
    task = pair_task(examples)
    optimization = Optimization(learning_rate=1e-3, warmup=0.0, schedule="constant", batch_size=8, max_steps=20)
    first = next(plan(task.lengths, optimization, seed=0))
    spoiled = fit(tiny_model(), pair_task(examples, forward=spoil({first[3]}, examples)), tmp_path / "a", max_steps=20)
    assert (spoiled.dropped, spoiled.rows) == (1, 159)
    good = [row for row in first if row != first[3]]
    with torch.no_grad():
        losses = logistic(margins(tiny_model(), [examples[row] for row in good]))
    assert spoiled.log[0]["loss"] == pytest.approx(losses.mean().item(), rel=1e-5)
    assert all(np.isfinite(line["loss"]) for line in spoiled.log)


def test_more_than_one_percent_of_non_finite_rows_fails_the_run(tmp_path: Path) -> None:
    examples = pairs(160)
    with pytest.raises(ParamsError, match=r"not finite \(got 2 of 160, at most 1%\)"):
        fit(tiny_model(), pair_task(examples, forward=spoil({5, 90}, examples)), tmp_path)


def test_a_gradient_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    def square_root(quantities: dict[str, Tensor]) -> Tensor:  # value 0, slope infinite
        return (quantities["chosen_logps"] * 0).sqrt()

    with pytest.raises(ParamsError, match="the gradient is not finite"):
        fit(tiny_model(), pair_task(PAIRS, loss=square_root), tmp_path)


def test_nothing_to_train_on_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nothing to train on"):
        fit(tiny_model(), pair_task([]), tmp_path)


def test_gradient_checkpointing_and_dropout_settings_change_nothing(tmp_path: Path) -> None:
    plain, checkpointed, dropout = tiny_model(), tiny_model(), tiny_model(attention_dropout=0.5)
    fit(plain, pair_task(PAIRS), tmp_path / "a", max_steps=3)
    fit(checkpointed, pair_task(PAIRS), tmp_path / "b", max_steps=3, gradient_checkpointing=True)
    fit(dropout, pair_task(PAIRS), tmp_path / "c", max_steps=3, gradient_checkpointing=True)
    assert_same_weights(plain, checkpointed)
    assert_same_weights(plain, dropout)


def test_statistics_and_metrics_see_the_whole_global_batch(tmp_path: Path) -> None:
    """Whatever the micro-batches, statistics are asked once per step, remember, and metrics get every row once."""
    asked: list[int] = []
    seen: list[tuple[int, set[float]]] = []

    def statistics(model: nn.Module, rows: list[int], state: State) -> tuple[dict[str, float], State]:
        asked.append(len(rows))
        count = state["offset"]["count"] + 1
        return {"offset": count}, {"offset": {"count": count}}

    def metrics(values: dict[str, np.ndarray]) -> dict[str, float]:
        seen.append((len(values["chosen_logps"]), set(values["offset"])))
        return {"logps/chosen": float(values["chosen_logps"].mean())}

    task = pair_task(PAIRS, statistics=statistics, state={"offset": {"count": 0.0}}, metrics=metrics)
    trained = fit(tiny_model(), task, tmp_path, micro_batch_tokens=40, epochs=1)
    assert asked == [8, 8, 8]
    assert seen == [(8, {1.0}), (8, {2.0}), (8, {3.0})]
    assert trained.state == {"offset": {"count": 3.0}}
    assert all("logps/chosen" in line for line in trained.log)


def test_the_log_stacks_what_is_reported_whatever_the_shape_of_what_is_learned_from(tmp_path: Path) -> None:
    """A quantity with more axes never reaches the log; a report of one number per example does."""

    def forward(model: nn.Module, batch: list[Any]) -> dict[str, Tensor]:
        found = margins(model, batch)
        return {**found, "matrix": torch.stack([found["chosen_logps"]] * (1 + len(batch)), 1)}

    def report(quantities: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"width": torch.full((len(quantities["matrix"]),), 2.0)}

    seen: list[set[str]] = []
    task = pair_task(PAIRS, forward=forward, report=report, metrics=lambda values: seen.append(set(values)) or {})
    fit(tiny_model(), task, tmp_path, max_steps=1, micro_batch_tokens=60)
    assert seen == [{"loss", "width"}]


def test_numbers_are_trained_beside_the_model_and_logged(tmp_path: Path) -> None:
    """A temperature that can shrink every margin falls where the margins point the wrong way at the start."""

    def loss(quantities: dict[str, Tensor]) -> Tensor:
        margin = (quantities["chosen_logps"] - quantities["rejected_logps"]).detach()
        return (quantities["temperature"] * margin - 1.0).square()

    task = pair_task(PAIRS, loss=lambda q: loss(q) + 0 * q["chosen_logps"], numbers={"temperature": 0.5})
    trained = fit(tiny_model(), task, tmp_path, max_steps=6, learning_rate=1e-2)
    assert trained.log[-1]["trained/temperature"] == trained.numbers["temperature"]
    assert trained.numbers["temperature"] != 0.5
    assert trained.log[-1]["loss"] < trained.log[0]["loss"]


def test_the_log_has_every_step(tmp_path: Path) -> None:
    trained = fit(tiny_model(), pair_task(PAIRS), tmp_path, max_steps=5)
    assert [line["step"] for line in trained.log] == [1, 2, 3, 4, 5]
    write_log(trained.log, tmp_path / "training_log.jsonl")
    assert len((tmp_path / "training_log.jsonl").read_text().splitlines()) == 5


def test_only_matrices_are_decayed() -> None:
    model = tiny_model()
    decayed, kept = adamw(model, Optimization(weight_decay=0.1)).param_groups
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    assert all(parameter.ndim == 1 for parameter in kept["params"])
    assert len(decayed["params"]) + len(kept["params"]) == len(list(model.parameters()))


def test_training_lowers_the_loss_and_is_reproducible_to_the_bit(tmp_path: Path) -> None:
    one, other = tiny_model(), tiny_model()
    trained = fit(one, pair_task(PAIRS), tmp_path / "a", epochs=15)
    again = fit(other, pair_task(PAIRS), tmp_path / "b", epochs=15)
    assert trained.log == again.log
    assert_same_weights(one, other, tolerance=0)
    losses = [line["loss"] for line in trained.log]
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])

"""Properties every preference model must have, measured on the training task itself."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.contract import Choice
from components.objectives import parse, resolve
from components.preference_models.network import new_network
from components.preference_models.readings import measurer
from components.reward_modeling.params import Params
from components.reward_modeling.run import task
from components.sequences import Example, Sequence
from components.statistics import both_directions, ece
from components.training.loop import Trained, train
from components.training.params import Compute, Optimization
from components.training.scorer import Scorer
from tests.tiny import save_tiny_policy, tiny_tokenizer

CPU = Compute(threads=1)
SCALAR = Choice("scalar")
SCORER = Scorer(False, torch.device("cpu"), "fp32", 8192, measurer(SCALAR))
EOS = tiny_tokenizer().eos_token_id


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("base") / "policy", initializer_range=0.05)


def random_pairs(n: int, seed: int = 0, length: int = 6) -> list[Example]:
    rng = np.random.default_rng(seed)

    def ids() -> list[int]:
        return rng.integers(6, 60, length).tolist()

    return [pair([1, *ids()[:2]], [*ids(), EOS], [*ids(), EOS]) for _ in range(n)]


def pair(prompt: list[int], chosen: list[int], rejected: list[int]) -> Example:
    return Example((Sequence(prompt, chosen, "chosen"), Sequence(prompt, rejected, "rejected")))


def swapped(pairs: list[Example]) -> list[Example]:
    sides = [[(side.prompt_ids, side.completion_ids) for side in example.sequences] for example in pairs]
    return [pair(prompt, rejected, chosen) for (prompt, chosen), (_, rejected) in sides]


def fit(
    model: Any,
    pairs: list[Example],
    workdir: Path,
    *,
    objective: Choice | None = None,
    p: Any = None,
    **settings: Any,
) -> Trained:
    params = Params(objective=objective or Choice("bradley_terry", {"centering": 0.0}), compute=CPU)
    probabilities = [1.0] * len(pairs) if p is None else list(p)
    examples = [
        replace(pair, given={"preference_probability": q}) for pair, q in zip(pairs, probabilities, strict=True)
    ]
    optimization = Optimization(**{"warmup": 0.0, "batch_size": 16, "learning_rate": 1e-3, **settings})
    job = task(params, resolve(params.objective, "reward"), SCORER, examples)
    return train(model, job, optimization=optimization, compute=CPU, seed=0, identity="t", workdir=workdir)


def margins(model: Any, pairs: list[Example]) -> np.ndarray:
    needs = [parse(name, "pair") for name in ("chosen_scores", "rejected_scores")]
    found = SCORER.collect(pairs, lambda some: SCORER.quantities(model, some, needs))
    return found["chosen_scores"] - found["rejected_scores"]


def test_a_head_of_zeros_starts_at_log_2(policy: Path, tmp_path: Path) -> None:
    model, _ = new_network(policy, SCALAR, CPU, seed=0)
    torch.nn.init.zeros_(model.score.weight)
    trained = fit(model, random_pairs(16), tmp_path, max_steps=1)
    assert trained.log[0]["loss"] == pytest.approx(math.log(2))
    assert trained.log[0]["accuracy"] == 0.0, "equal scores are not correct"


def test_swapped_labels_train_the_mirror_image(policy: Path, tmp_path: Path) -> None:
    """With the head negated and every pair swapped, the loss is the same and the margins end up negated."""
    pairs = random_pairs(32)
    model, _ = new_network(policy, SCALAR, CPU, seed=0)
    mirror, _ = new_network(policy, SCALAR, CPU, seed=0)
    with torch.no_grad():
        mirror.score.weight.neg_()
    there = fit(model, pairs, tmp_path / "a", epochs=3)
    back = fit(mirror, swapped(pairs), tmp_path / "b", epochs=3)
    assert [line["loss"] for line in there.log] == pytest.approx([line["loss"] for line in back.log], abs=1e-4)
    assert margins(mirror, pairs) == pytest.approx(-margins(model, pairs), abs=1e-3)
    assert np.abs(margins(model, pairs)).mean() > 0.05


def test_micro_batches_do_not_change_training(policy: Path, tmp_path: Path) -> None:
    pairs = random_pairs(24)
    logs = []
    for budget in (40, 100_000):
        model, _ = new_network(policy, SCALAR, CPU, seed=0)
        logs.append(fit(model, pairs, tmp_path / str(budget), epochs=2, micro_batch_tokens=budget).log)
    assert [line["loss"] for line in logs[0]] == pytest.approx([line["loss"] for line in logs[1]], abs=1e-4)


def test_soft_labels_are_learned_as_probabilities(policy: Path, tmp_path: Path) -> None:
    """One pair, preferred by 70 %: the margin goes to logit(.7) and not to infinity."""
    model, _ = new_network(policy, SCALAR, CPU, seed=0)
    soft = Choice("bradley_terry_soft")
    pair = random_pairs(1)
    fit(model, pair, tmp_path, objective=soft, p=[0.7], max_steps=60, learning_rate=3e-3)
    assert margins(model, pair)[0] == pytest.approx(math.log(0.7 / 0.3), abs=0.05)


@pytest.mark.slow
def test_linear_preferences_are_recovered(policy: Path, tmp_path: Path) -> None:
    """2000 noisy comparisons of texts whose utility is the sum of their tokens' values: accuracy on new pairs within
    .03 of always naming the truly better one, and calibrated to .05."""
    value = np.random.default_rng(1).normal(size=400) * 0.8

    def gap(pairs: list[Example]) -> np.ndarray:
        sums = [[value[side.completion_ids[:-1]].sum() for side in pair.sequences] for pair in pairs]
        return np.subtract(*np.transpose(sums))

    def labelled(n: int, seed: int) -> list[Example]:
        drawn = random_pairs(n, seed)
        first = np.random.default_rng(seed + 100).random(n) < 1 / (1 + np.exp(-gap(drawn)))
        return [pair if keep else swap for pair, swap, keep in zip(drawn, swapped(drawn), first, strict=True)]

    model, _ = new_network(policy, SCALAR, CPU, seed=0)
    fit(model, labelled(2000, 0), tmp_path, epochs=4, batch_size=32, learning_rate=1e-3)
    test = labelled(2000, 7)
    found = margins(model, test)
    assert (found > 0).mean() > (gap(test) > 0).mean() - 0.03
    assert ece(*both_directions(1 / (1 + np.exp(-found)))) < 0.05

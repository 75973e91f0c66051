"""What was trained, what was merged and what was loaded again are compared, and a difference is told with its cause."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.errors import ArtifactError, ParamsError
from components.sequences import Example, Sequence
from components.training import saved_check
from components.training.lora import add_adapters, merge_adapters
from components.training.params import Lora, Optimization
from components.training.saved_check import Gap, check_merged, check_reloaded, gap_of, policy_probe, rows_of
from tests.components.training.helpers import fit, pair_task, pairs
from tests.tiny import tiny_model

CPU = torch.device("cpu")
SAID = [np.array([-1.0, -3.0]), np.array([-0.5])]


def test_rows_go_from_the_shortest_to_the_longest() -> None:
    """Of 100 examples 16 rows, the extremes among them; of an example its longest sequence."""
    examples = [Example((Sequence([1], [2]), Sequence([1] * (n + 1), [2, 3]))) for n in reversed(range(100))]
    lengths = [len(row) for row in rows_of(examples)]
    assert len(lengths) == 16
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (3, 102)
    assert [len(row) for row in rows_of(examples[:2])] == [101, 102]


def test_a_gap_is_a_mean_over_a_row_relative_where_numbers_are_large() -> None:
    assert gap_of(SAID, SAID) == Gap(0.0, 0.0)
    moved = [np.array([-1.2, -3.0]), np.array([-0.5])]
    assert gap_of(SAID, moved) == Gap(pytest.approx(0.025), pytest.approx(0.05))  # 0.2 / 2 numbers / a mean of 2; 0
    assert gap_of(SAID, [np.array([-1.0, np.nan]), SAID[1]]).worst == np.inf
    assert gap_of([np.array([])], [np.array([])]) == Gap(0.0, 0.0)


def test_a_token_that_rounding_sends_elsewhere_is_no_other_function() -> None:
    """One row of many may differ a little, half of them or one by much may not."""
    assert Gap(1e-6, 5e-3).is_rounding
    assert not Gap(2e-4, 5e-3).is_rounding
    assert not Gap(1e-6, 2e-2).is_rounding
    assert not Gap(np.inf, np.inf).is_rounding


@pytest.mark.parametrize(
    ("lora", "optimization", "cause"),
    [
        (
            Lora(rank=2, targets=("q_proj",)),
            Optimization(),
            "adapters on q_proj cannot be folded .*Choose other lora.t",
        ),
        (
            Lora(),
            Optimization(sharded=True),
            "from their shares are others. Set optimization.sharded: false",
        ),
        (Lora(), Optimization(), "computes something else in training"),
    ],
)
def test_the_cause_is_what_lies_between_the_two(lora: Lora, optimization: Optimization, cause: str) -> None:
    check_merged("step", SAID, [row + 1e-6 for row in SAID], lora, optimization)
    with pytest.raises(ArtifactError, match=rf"^step: what would be saved is not what was trained \(got .*{cause}"):
        check_merged("step", SAID, [row + 1e-2 for row in SAID], lora, optimization)


def test_numbers_that_are_not_finite_blame_the_training() -> None:
    bad = [np.array([np.nan, -1.0]), SAID[1]]
    with pytest.raises(ParamsError, match=r"^step: after its last step .*Lower optimization.learning_rate"):
        check_merged("step", bad, bad, Lora(), Optimization())


@pytest.mark.filterwarnings("ignore:Model (has|with)")
def test_adapters_on_tied_embeddings_show_after_the_merge(tmp_path: Path) -> None:
    """The fault itself, trained as no check of targets would let it: found by what the model says."""
    rows = [Sequence(prompt, chosen) for prompt, chosen, _ in pairs(16)]
    probe = policy_probe(rows, CPU)
    gaps = {}
    for target in ("lm_head", "q_proj"):
        lora = Lora(rank=2, alpha=8.0, targets=(target,))
        model = add_adapters(tiny_model(tie_word_embeddings=True), lora, seed=0)
        trained = fit(model, pair_task(pairs(16), probe=probe), tmp_path / target, learning_rate=2e-2)
        gaps[target] = gap_of(trained.said, probe(merge_adapters(model)))
    assert gaps["q_proj"].worst < 1e-6
    assert gaps["q_proj"].is_rounding
    assert not gaps["lm_head"].is_rounding


@pytest.mark.parametrize("settings", [{}, {"gradient_checkpointing": True}, {"precision": "bf16"}], ids=str)
def test_a_loop_says_what_its_model_says_afterwards(tmp_path: Path, settings: dict[str, Any]) -> None:
    """Asked in fp32 whatever the precision of training; nothing is asked where there is no probe."""
    model, probe = tiny_model(), policy_probe([Sequence([7], [8, 9])], CPU)
    before = probe(model)
    trained = fit(model, pair_task(pairs(8), probe=probe), tmp_path, **settings)
    assert gap_of(trained.said, probe(model)).worst == 0.0
    assert gap_of(trained.said, before).worst > 0.0
    assert fit(tiny_model(), pair_task(pairs(8)), tmp_path / "other").said == []


def test_a_model_that_is_another_function_in_train_mode_is_refused_before_the_first_step(tmp_path: Path) -> None:
    model = tiny_model()
    norm = type(model.model.norm)

    class Noisy(norm):  # type: ignore[misc, valid-type]
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = super().forward(hidden) + self.training
            return found

    model.model.norm.__class__ = Noisy
    task = pair_task(pairs(8), probe=policy_probe([Sequence([7], [8, 9])], CPU))
    fit(model, task, tmp_path / "eval")
    with pytest.raises(ParamsError, match=r"^optimization.gradient_checkpointing: needs train mode, where this model"):
        fit(model, task, tmp_path / "train", gradient_checkpointing=True)


def test_a_reloaded_model_is_the_same_to_the_bit_on_a_cpu() -> None:
    model, other = tiny_model(), tiny_model()
    check_reloaded("step", SAID, SAID, model, other, CPU)
    with torch.no_grad():
        other.model.norm.weight[0] += 1e-6
    slightly = [row + 1e-7 for row in SAID]
    with pytest.raises(ArtifactError, match=r"^step: what was saved is not .* differ: model.norm.weight\). Rerun"):
        check_reloaded("step", SAID, slightly, model, other, CPU)
    check_reloaded("step", SAID, slightly, model, other, torch.device("cuda"))
    with pytest.raises(ArtifactError, match="differ: none, so its config"):
        check_reloaded("step", SAID, [row + 1 for row in SAID], model, model, torch.device("cuda"))


def test_the_tolerance_lies_between_rounding_and_a_cast() -> None:
    """Weights in bf16 are another function; merged in fp32 they are not (see above)."""
    model, probe = tiny_model(), policy_probe([Sequence(p, c) for p, c, _ in pairs(8)], CPU)
    said = probe(model)
    assert not gap_of(said, probe(model.bfloat16().float())).is_rounding
    assert saved_check.TOLERANCE < saved_check.WORST

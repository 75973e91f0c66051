"""A LoRA target that stands for no layer is told from the names in the weight files, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import ParamsError
from components.model_files.lora import check_folder, check_names, matches
from tests.tiny import save_tiny_policy

NAMES = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj", "lm_head")


def test_a_target_stands_for_every_layer_of_its_last_names() -> None:
    assert matches("q_proj", NAMES[0])
    assert matches("self_attn.q_proj", NAMES[0])
    assert matches("lm_head", "lm_head")
    assert not matches("proj", NAMES[0])
    assert not matches("q_proj", "model.q_proj.other")


@pytest.mark.parametrize("targets", [["all-linear"], ["q_proj"], ["q_proj", "lm_head"], ["mlp.up_proj"]])
def test_targets_that_are_there_pass(targets: list[str]) -> None:
    check_names(targets, NAMES, "x")


@pytest.mark.parametrize("targets", [["no_such"], ["q_proj", "no_such"], ["all-linear", "no_such"]])
def test_one_target_that_is_not_there_is_told_with_those_that_are(targets: list[str]) -> None:
    """peft itself leaves out what it does not find, as long as it finds one."""
    with pytest.raises(ParamsError, match=r"^reward_modeling.lora.targets: .*Choose from lm_head, q_proj, up_proj"):
        check_names(targets, NAMES, "reward_modeling.lora.targets")


def test_the_weight_files_tell_the_names(tmp_path: Path) -> None:
    """Matrices only: a norm cannot be adapted, and a tied output layer has no weights of its own."""
    folder = save_tiny_policy(tmp_path / "policy", tie_word_embeddings=True)
    check_folder(folder, ["q_proj", "down_proj"], "x")
    for target in ("input_layernorm", "lm_head", "c_attn"):
        with pytest.raises(ParamsError, match=rf"\(got {target}\)"):
            check_folder(folder, [target], "x")

"""A LoRA target that stands for no layer is told from the names in the weight files, before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from components.errors import ParamsError
from components.model_files.lora import check_folder, check_names, llama_layers, matches
from tests.tiny import save_tiny_policy, tiny_model

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


def test_the_layers_of_the_tiny_recipe_are_known_before_it_is_made() -> None:
    """They are those that LoRA adapts in the model itself; its embeddings, tied to the output layer, are none."""
    model = tiny_model(num_hidden_layers=2, tie_word_embeddings=True)
    linear = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)} - {"lm_head"}
    assert llama_layers(2) == linear


@pytest.mark.parametrize("targets", ["q_proj", []])
def test_targets_are_a_list_of_names(targets: list[str] | str) -> None:
    with pytest.raises(ParamsError, match=r"^x: a list of names \(got .*\). Write \[all-linear\]"):
        check_names(targets, {"q_proj"}, "x")

"""A LoRA target that stands for no layer is told from the names in the weight files, before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from components.errors import ParamsError
from components.model_files.lora import check_folder, check_names, check_tiny, matches
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
    check_folder(folder, ["q_proj", "down_proj", "embed_tokens", "model.layers.0.mlp.up_proj"], "x", has_output=False)
    for target in ("input_layernorm", "lm_head", "c_attn"):
        with pytest.raises(ParamsError, match=rf"\(got {target}\)"):
            check_folder(folder, [target], "x", has_output=False)


@pytest.mark.parametrize("config", [{}, {"tie_word_embeddings": True}, {"text_config": {"vocab_size": 320}}])
def test_embeddings_that_are_the_output_layer_are_told_from_the_files(tmp_path: Path, config: dict[str, Any]) -> None:
    """Whatever they are called, and also where the config leaves it to the default of its architecture."""
    files = {"wte.weight": (320, 8), "wpe.weight": (64, 8), "h.0.attn.c_attn.weight": (8, 24)}
    folder = stored(tmp_path, files, {"vocab_size": 320} | config)
    check_folder(folder, ["transformer.h.0.attn.c_attn", "wpe"], "x", has_output=True)
    check_folder(folder, ["wte"], "x", has_output=False)
    with pytest.raises(
        ParamsError, match=r"^x: wte shares its weights with the output layer.*\(got wte\). Leave it out"
    ):
        check_folder(folder, ["c_attn", "wte"], "x", has_output=True)
    with pytest.raises(ParamsError, match=r"\(got lm_head\). Choose from c_attn, wpe, or write"):
        check_folder(folder, ["lm_head"], "x", has_output=True)


@pytest.mark.parametrize("output", [320, 384])
def test_embeddings_apart_from_the_output_layer_may_be_adapted(tmp_path: Path, output: int) -> None:
    """Also where one of the two has rows that no token uses."""
    files = {"gpt_neox.embed_in.weight": (320, 8), "embed_out.weight": (output, 8)}
    folder = stored(tmp_path, files, {"vocab_size": 320, "tie_word_embeddings": False})
    check_folder(folder, ["embed_in", "embed_out"], "x", has_output=True)


def test_the_tiny_recipe_is_known_before_it_is_made() -> None:
    check_tiny(["q_proj", "model.layers.1.mlp.up_proj"], "x", has_output=True)
    check_tiny(["all-linear"], "x", has_output=True)
    check_tiny(["embed_tokens"], "x", has_output=False)
    for target, twin in (("lm_head", "model.embed_tokens"), ("embed_tokens", "lm_head")):
        with pytest.raises(ParamsError, match=rf"shares its weights with {twin}"):
            check_tiny(["q_proj", target], "x", has_output=True)
    with pytest.raises(ParamsError, match=r"\(got c_attn\). Choose from down_proj, gate_proj"):
        check_tiny(["c_attn"], "x", has_output=True)


def stored(folder: Path, tensors: dict[str, tuple[int, int]], config: dict[str, Any]) -> Path:
    save_file({name: np.zeros(shape, np.float32) for name, shape in tensors.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder

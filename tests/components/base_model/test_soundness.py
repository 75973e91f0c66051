"""What a released model computes is numbers, depends on the past only, and comes from the weights that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    OPTConfig,
    OPTForCausalLM,
    RobertaConfig,
    RobertaForCausalLM,
)

from components.base_model.soundness import (
    check_causal,
    check_ends,
    check_finite,
    check_kind,
    check_positions,
    check_tied,
)
from components.errors import ArtifactError
from components.training.runtime import load_model
from tests.components.base_model.brought import bring, change_json, change_tensors, shard, source
from tests.tiny import tiny_model

IDS = list(range(10, 26))
HERE = Path("model")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_one_value_that_is_no_number_is_found_and_its_tensor_named(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    folder = source(tmp_path)

    def damage(tensors: dict[str, Any]) -> dict[str, Any]:
        tensors["model.norm.weight"][3] = value
        return {name: tensor.to(dtype) for name, tensor in tensors.items()}

    change_tensors(folder, damage)
    with pytest.raises(ArtifactError, match=r"model.safetensors: model.norm.weight holds 1 values .*not finite"):
        bring(folder, tmp_path / "policy")
    shard(folder)
    with pytest.raises(ArtifactError, match=r"model-0000\d-of-00003.safetensors: model.norm.weight holds"):
        check_finite(load_model(folder, "x"), folder)


def test_a_download_that_reserved_its_space_and_stopped_is_told(tmp_path: Path) -> None:
    """The file has its full length, and its second half is zeros."""
    folder = source(tmp_path)
    check_ends(folder)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2))
    with pytest.raises(ArtifactError, match=r"ends in zeros \(got \d+ tensors.*did not finish: fetch it again"):
        check_ends(folder)


def test_a_matrix_of_zeros_in_the_middle_is_no_fault(tmp_path: Path) -> None:
    folder = source(tmp_path)
    name = "model.layers.0.mlp.down_proj.weight"
    change_tensors(folder, lambda tensors: {**tensors, name: torch.zeros_like(tensors[name])})
    check_ends(folder)


@pytest.mark.parametrize("spread", [0.02, 0.2])
def test_attention_to_the_future_is_refused_and_to_the_past_is_not(spread: float) -> None:
    """Also of a fresh encoder, whose logits hardly differ."""
    torch.manual_seed(0)
    size = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    settings = {**size, "intermediate_size": 64, "initializer_range": spread, "max_position_embeddings": 64}
    with pytest.raises(ArtifactError, match=r"\(got BertLMHeadModel.*It cannot generate"):
        check_causal(BertLMHeadModel(BertConfig(**settings)).eval(), IDS, 2, HERE)
    check_causal(BertLMHeadModel(BertConfig(**settings, is_decoder=True)).eval(), IDS, 2, HERE)


def test_causal_models_pass(tmp_path: Path) -> None:
    check_causal(tiny_model(), IDS, 2, HERE)
    gpt = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_positions=64)).eval()
    check_causal(gpt, IDS, 2, HERE)


def test_a_decoder_told_to_look_both_ways_is_refused(tmp_path: Path) -> None:
    folder = source(tmp_path)
    change_json(folder / "config.json", is_causal=False)
    with pytest.raises(ArtifactError, match=r"\(got LlamaForCausalLM.*attention in both directions"):
        bring(folder, tmp_path / "policy")


def test_weights_that_overflow_are_told() -> None:
    model = tiny_model()
    model.lm_head.weight.data.fill_(3e38)
    with pytest.raises(ArtifactError, match=r"answers a text with numbers that are not finite"):
        check_causal(model, IDS, 2, HERE)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "t5"}, r"is no causal language model \(got model_type t5\)"),
        ({"model_type": "nonsense"}, r"describes no model that transformers .*nonsense"),
        ({"model_type": None}, r"describes no model .*model_type"),
        ({"hidden_size": "32"}, r"describes no model .*'hidden_size'.*expected int"),
        ({"num_attention_heads": 5}, r"describes no model .*not a multiple of the number of attention heads"),
    ],
)
def test_a_config_of_no_causal_model_is_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    folder = source(tmp_path)
    change_json(folder / "config.json", **config)
    with pytest.raises(ArtifactError, match=f"config.json: {message}"):
        check_kind(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"num_hidden_layers": 1},
            r"no place in the model .*\(got model.layers.1.input_layernorm.weight.* and 6 more\)",
        ),
        ({"num_hidden_layers": 3}, r"weights are missing \(got none for model.layers.2.input_layernorm.weight"),
        ({"vocab_size": 400}, r"another shape than the config says \(got lm_head.weight \[\d+, 32\] for \[400, 32\]"),
        ({"hidden_act": "nonsense"}, r"cannot be loaded \(KeyError 'nonsense'\)"),
    ],
)
def test_weights_and_config_of_two_models_are_refused(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    """transformers itself would leave the second layer out, or fill the third with random numbers."""
    folder = source(tmp_path)
    change_json(folder / "config.json", **config)
    with pytest.raises(ArtifactError, match=f"source: .*{message}.*of one and the same model"):
        bring(folder, tmp_path / "policy")


def test_unexpected_and_missing_tensors_are_refused(tmp_path: Path) -> None:
    folder = source(tmp_path)
    change_tensors(folder, lambda tensors: {**tensors, "score.weight": torch.ones(1, 32)})
    with pytest.raises(ArtifactError, match=r"have no place in the model .*\(got score.weight\)"):
        load_model(folder, "Do this")
    change_tensors(
        folder, lambda tensors: {n: t for n, t in tensors.items() if n not in ("score.weight", "lm_head.weight")}
    )
    with pytest.raises(ArtifactError, match=r"weights are missing \(got none for lm_head.weight\). Do this."):
        load_model(folder, "Do this")


def test_tied_by_the_config_and_apart_in_the_weights_is_refused(tmp_path: Path) -> None:
    """transformers leaves them apart, other programs tie them: the model would be two."""
    folder = source(tmp_path, tie_word_embeddings=True)
    check_tied(load_model(folder, "x"), folder)
    embedding = "model.embed_tokens.weight"
    change_tensors(folder, lambda tensors: {**tensors, "lm_head.weight": tensors[embedding].clone()})
    check_tied(load_model(folder, "x"), folder)  # twice the same: tied
    change_tensors(folder, lambda tensors: {**tensors, "lm_head.weight": tensors[embedding] + 1})
    with pytest.raises(ArtifactError, match=r"tie_word_embeddings is true, but.*Set it to false"):
        check_tied(load_model(folder, "x"), folder)


def test_positions_that_do_not_begin_at_0_are_refused() -> None:
    """RoBERTa counts from behind its pad token; a batch is given positions from 0, and other numbers would come out."""
    size = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    torch.manual_seed(0)
    shifted = RobertaForCausalLM(RobertaConfig(**size, intermediate_size=64, is_decoder=True)).eval()
    check_causal(shifted, IDS, 2, HERE)
    with pytest.raises(ArtifactError, match=r"does not count positions from 0 \(got RobertaForCausalLM"):
        check_positions(shifted, IDS, HERE)
    check_positions(tiny_model(), IDS, HERE)
    opt = OPTConfig(**size, ffn_dim=64, word_embed_proj_dim=32, max_position_embeddings=64)  # its own offset is inside
    check_positions(OPTForCausalLM(opt).eval(), IDS, HERE)

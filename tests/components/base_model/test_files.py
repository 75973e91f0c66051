"""A folder whose weights are not all there, not in full precision, or not the model's alone is told before loading."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from components.base_model.files import check_files, copy_weights, settle_positions
from components.errors import ArtifactError
from tests.components.base_model.brought import bring, change_json, change_tensors, shard, source
from tests.tiny import save_tiny_policy, tiny_model

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_a_pointer_in_place_of_any_file_is_named(tmp_path: Path, name: str) -> None:
    folder = source(tmp_path)
    (folder / name).write_text(POINTER)
    with pytest.raises(ArtifactError, match=rf"source/{name}: is a Git LFS pointer.*git lfs pull"):
        check_files(folder)


@pytest.mark.parametrize("name", ["model-00002-of-00003.safetensors", "model.safetensors.index.json"])
def test_a_pointer_among_the_shards_is_named(tmp_path: Path, name: str) -> None:
    folder = source(tmp_path)
    shard(folder)
    (folder / name).write_text(POINTER)
    with pytest.raises(ArtifactError, match=rf"source/{name}: is a Git LFS pointer"):
        check_files(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# xet version 0\n", "is a Xet pointer"),
        (b"<!DOCTYPE html><html><body>not found", "is a web page"),
        (b"PK\x03\x04" + bytes(100), "is not a safetensors file"),
    ],
)
def test_what_is_no_weight_file_is_told_by_what_it_is(tmp_path: Path, content: bytes, message: str) -> None:
    folder = source(tmp_path)
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ArtifactError, match=f"model.safetensors: {message}"):
        check_files(folder)


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.5, 0.999])
def test_a_file_that_is_cut_is_told_however_short(tmp_path: Path, share: float) -> None:
    folder = source(tmp_path)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ArtifactError, match=r"model.safetensors: is cut short \(got \d+ bytes.*Fetch it again"):
        check_files(folder)


def test_shards_must_all_be_there_and_hold_what_the_index_says(tmp_path: Path) -> None:
    folder = source(tmp_path)
    held = shard(folder)
    check_files(folder)
    index = folder / "model.safetensors.index.json"
    wrong = {**held, "lm_head.weight": "model-00002-of-00003.safetensors"}
    index.write_text(json.dumps({"weight_map": wrong}))
    with pytest.raises(ArtifactError, match=r"names tensors that their shards do not hold \(got lm_head.weight\)"):
        check_files(folder)
    index.write_text(json.dumps({"weight_map": held}))
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"1 of 3 weight files are missing \(got no model-00002-of-00003.saf"):
        check_files(folder)
    index.unlink()
    with pytest.raises(ArtifactError, match=r"index.json is missing \(got 2 of 3 shards without it\)"):
        check_files(folder)


def test_two_sets_of_weights_are_refused(tmp_path: Path) -> None:
    folder = source(tmp_path)
    whole = (folder / "model.safetensors").read_bytes()
    shard(folder)
    (folder / "model.safetensors").write_bytes(whole)
    with pytest.raises(ArtifactError, match="two sets of weights"):
        check_files(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pytorch_model.bin", r"no safetensors in it \(got pytorch_model.bin\). Pickled"),
        ("model-q4.gguf", r"no safetensors in it \(got model-q4.gguf\)"),
        ("consolidated.safetensors", r"another name than model.safetensors \(got consolidated.safetensors\)"),
    ],
)
def test_weights_of_another_name_or_format_are_refused(tmp_path: Path, name: str, message: str) -> None:
    folder = source(tmp_path)
    (folder / "model.safetensors").rename(folder / name)
    with pytest.raises(ArtifactError, match=message):
        check_files(folder)


def _packed(tensors: dict[str, Tensor]) -> None:
    name = "model.layers.0.mlp.up_proj"
    del tensors[f"{name}.weight"]
    tensors[f"{name}.qweight"] = torch.ones(4, 8, dtype=torch.int32)


def _cast(dtype: torch.dtype) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda tensors: {name: t.to(dtype) if t.ndim > 1 else t for name, t in tensors.items()}


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (_packed, "I32 in model.layers.0.mlp.up_proj.qweight"),
        (_cast(torch.float8_e4m3fn), "F8_E4M3 in lm_head.weight"),
        (_cast(torch.int8), "I8 in lm_head.weight"),
        (_cast(torch.uint8), "U8 in lm_head.weight"),
    ],
)
def test_quantized_tensors_are_told_without_a_config_that_says_so(tmp_path: Path, change: Any, got: str) -> None:
    """transformers itself reads 8-bit numbers as if they were the weights."""
    folder = source(tmp_path)
    change_tensors(folder, change)
    with pytest.raises(ArtifactError, match=rf"weights are quantized \(got {got}\).*unquantized release"):
        check_files(folder)


@pytest.mark.parametrize(
    ("config", "got"),
    [
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "bitsandbytes"),
        ({"quantization_config": {"load_in_4bit": True}}, "a quantization_config"),
        ({"text_config": {"quantization_config": {"quant_method": "fp8"}}}, "fp8"),
        ({"compression_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
    ],
)
def test_quantized_checkpoints_are_refused(tmp_path: Path, config: dict[str, Any], got: str) -> None:
    folder = source(tmp_path)
    change_json(folder / "config.json", **config)
    with pytest.raises(ArtifactError, match=rf"weights are quantized \(got {got}\)"):
        check_files(folder)


def test_a_quantizers_own_file_is_a_sign_too(tmp_path: Path) -> None:
    folder = source(tmp_path)
    (folder / "quantize_config.json").write_text('{"bits": 4}')
    with pytest.raises(ArtifactError, match=r"quantized \(got quantize_config.json\)"):
        check_files(folder)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_beside_or_instead_of_the_weights_is_refused(tmp_path: Path, name: str) -> None:
    folder = source(tmp_path)
    (folder / name).write_text("{}")
    with pytest.raises(ArtifactError, match=rf"an adapter lies beside the model \(got {name}\). Merge it"):
        check_files(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ArtifactError, match=rf"holds an adapter, not a model \(got {name}.*merge it into"):
        check_files(folder)


def test_adapters_within_the_weights_are_refused(tmp_path: Path) -> None:
    folder = source(tmp_path)
    change_tensors(folder, lambda tensors: {**tensors, "x.q_proj.lora_A.weight": torch.ones(4, 32)})
    with pytest.raises(ArtifactError, match=r"tensors of an adapter \(got x.q_proj.lora_A.weight\)"):
        check_files(folder)


def test_a_folder_one_level_too_high_is_told_where_the_model_is(tmp_path: Path) -> None:
    folder = source(tmp_path)
    with pytest.raises(ArtifactError, match=f"no config.json in it. Did you mean {folder}"):
        check_files(tmp_path)


def test_a_config_that_is_not_json_is_named(tmp_path: Path) -> None:
    folder = source(tmp_path)
    (folder / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"config.json: is not JSON"):
        check_files(folder)
    (folder / "config.json").write_text("[]")
    with pytest.raises(ArtifactError, match=r"config.json: must hold one JSON object \(got list\)"):
        check_files(folder)


def test_a_dead_link_and_a_pipe_are_told(tmp_path: Path) -> None:
    """A folder of the hub's cache whose blobs were cleaned away; the content id finds it first in the step."""
    folder = source(tmp_path)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../blobs/gone")
    with pytest.raises(ArtifactError, match=r"model.safetensors: cannot be read \(got a link to ../blobs/gone\)"):
        check_files(folder)
    with pytest.raises(ArtifactError, match=r"leads nowhere \(got a link to ../blobs/gone\). Fetch the model again"):
        bring(folder, tmp_path / "policy", revision="any")
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "notes.txt")
    with pytest.raises(ArtifactError, match=r"notes.txt: leads nowhere \(got a pipe or device\)"):
        bring(folder, tmp_path / "policy", revision="any")
    with pytest.raises(ArtifactError, match=r"notes.txt: is not a file"):
        check_files(folder)


def test_only_what_makes_up_the_model_is_copied(tmp_path: Path) -> None:
    folder, output = source(tmp_path), tmp_path / "out"
    shard(folder)
    (folder / "consolidated.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    output.mkdir()
    copy_weights(folder, output)
    copied = sorted(path.name for path in output.iterdir())
    shards = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert copied == ["config.json", *shards, "model.safetensors.index.json"]


def test_positions_that_the_config_leaves_to_its_architecture_are_written_in(tmp_path: Path) -> None:
    folder = save_tiny_policy(tmp_path / "policy", max_position_embeddings=2048)  # the default of Llama
    change_json(folder / "config.json", max_position_embeddings=None)
    assert settle_positions(folder, tiny_model(max_position_embeddings=2048).config) == 2048
    assert json.loads((folder / "config.json").read_text())["max_position_embeddings"] == 2048
    before = (folder / "config.json").read_bytes()
    assert settle_positions(folder, None) == 2048
    assert (folder / "config.json").read_bytes() == before


@pytest.mark.parametrize("name", ["v_head.summary.weight", "score.weight", "model.value_head.bias"])
def test_a_head_that_gives_scores_is_told_from_the_weights_of_a_policy(tmp_path: Path, name: str) -> None:
    folder = source(tmp_path)
    change_tensors(folder, lambda tensors: {**tensors, name: torch.ones(1, 32)})
    with pytest.raises(ArtifactError, match=rf"source: holds a head that gives scores.*\(got {name}\)"):
        check_files(folder)


@pytest.mark.parametrize("start", ["module.", "_orig_mod.", "pretrained_model."])
def test_weights_saved_with_what_was_wrapped_around_the_model_are_told(tmp_path: Path, start: str) -> None:
    folder = source(tmp_path)
    change_tensors(folder, lambda tensors: {start + name: tensor for name, tensor in tensors.items()})
    with pytest.raises(ArtifactError, match=rf"wrapped around the model.*begin with {start}\).*unwrap_model"):
        check_files(folder)


def test_names_that_only_look_like_a_head_or_a_wrapper_pass(tmp_path: Path) -> None:
    folder = source(tmp_path)
    names = ("model.layers.0.mlp.gate.e_score_correction_bias", "model.module.scores.bias")
    change_tensors(folder, lambda tensors: {**tensors, **{name: torch.ones(2) for name in names}})
    check_files(folder)

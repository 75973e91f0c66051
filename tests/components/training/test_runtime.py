"""Models load whole or not at all, and a run that is not what its parameters say does not start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.artifacts import content_id
from components.errors import ArtifactError, ParamsError
from components.training.params import Compute
from components.training.runtime import load_policy, save_policy, setup
from tests.tiny import save_tiny_policy, tiny_model, tiny_tokenizer


def test_a_saved_policy_loads_equal_in_eval_mode_and_saves_to_the_same_bytes(tmp_path: Path) -> None:
    model, tokenizer = load_policy(save_tiny_policy(tmp_path / "a"), Compute())
    assert not model.training
    assert all(torch.equal(v, tiny_model().state_dict()[k]) for k, v in model.state_dict().items())
    save_policy(model, tokenizer, tmp_path / "b")
    again, tokenizer = load_policy(tmp_path / "b", Compute())
    save_policy(again, tokenizer, tmp_path / "deeper" / "c")
    assert content_id(tmp_path / "b") == content_id(tmp_path / "deeper" / "c")
    assert str(tmp_path) not in "".join(p.read_text() for p in (tmp_path / "b").glob("*.json"))


def test_missing_weights_and_files_are_artifact_errors(tmp_path: Path) -> None:
    folder = save_tiny_policy(tmp_path / "policy")
    kept = load_file(folder / "model.safetensors")
    kept.pop("model.norm.weight")
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"weights are missing \(got none for model.norm.weight\)"):
        load_policy(folder, Compute())
    (folder / "model.safetensors").unlink()
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_policy(folder, Compute())


def test_weights_of_another_shape_and_without_a_place_are_artifact_errors(tmp_path: Path) -> None:
    folder = save_tiny_policy(tmp_path / "policy")
    whole = load_file(folder / "model.safetensors")
    save_file({**whole, "score.weight": torch.ones(1, 32)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"have no place in the model .*\(got score.weight\). Rerun its step"):
        load_policy(folder, Compute())
    save_file({**whole, "model.norm.weight": torch.ones(16)}, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ArtifactError, match=r"another shape than the config says \(got model.norm.weight \[16\] for"):
        load_policy(folder, Compute())
    (folder / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(ArtifactError, match=r"policy: the model cannot be loaded .*Rerun its step"):
        load_policy(folder, Compute())


def test_an_adapter_beside_the_weights_is_not_added_without_a_word(tmp_path: Path) -> None:
    """transformers would: the model that is loaded would not be the one whose weights are named."""
    folder = save_tiny_policy(tmp_path / "policy")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"policy: an adapter lies beside the model .*Rerun its step"):
        load_policy(folder, Compute())


def test_a_saved_config_says_whether_the_output_layer_is_the_embeddings(tmp_path: Path) -> None:
    """transformers tells it from the weights; a program that believes the config would compute something else."""
    for tied in (False, True):
        model = tiny_model(tie_word_embeddings=tied)
        model.config.tie_word_embeddings = True
        save_policy(model, tiny_tokenizer(), tmp_path / str(tied))
        saved = json.loads((tmp_path / str(tied) / "config.json").read_text())
        assert saved["tie_word_embeddings"] is tied
        assert ("lm_head.weight" in load_file(tmp_path / str(tied) / "model.safetensors")) is not tied


def test_pickled_weights_are_not_read(tmp_path: Path) -> None:
    folder = save_tiny_policy(tmp_path / "policy")
    (folder / "model.safetensors").unlink()
    torch.save(tiny_model().state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_policy(folder, Compute())


def test_a_tokenizer_larger_than_the_embedding_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_policy(tmp_path / "policy")
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([f"<extra{i}>" for i in range(3)])
    tokenizer.save_pretrained(folder)
    with pytest.raises(ArtifactError, match="more tokens than the model"):
        load_policy(folder, Compute())


def test_a_missing_pad_token_becomes_eos_and_a_missing_eos_is_refused(tmp_path: Path) -> None:
    folder = save_tiny_policy(tmp_path / "policy")
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    assert load_policy(folder, Compute())[1].pad_token == "<eos>"
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ArtifactError, match="no EOS token"):
        load_policy(folder, Compute())


def test_the_number_of_processes_must_be_the_one_in_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    assert setup(Compute(threads=1), seed=0) == torch.device("cpu")
    launch = r"got 1, want 2\). Launch it with: torchrun --nproc_per_node 2 .* several machines.*: torchrun --nnodes"
    with pytest.raises(ParamsError, match=launch):
        setup(Compute(processes=2), seed=0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ParamsError, match="got 2, want 1"):
        setup(Compute(), seed=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is there")
def test_a_missing_gpu_is_a_user_error() -> None:
    with pytest.raises(ParamsError, match="no CUDA device"):
        setup(Compute(device="cuda"), seed=0)

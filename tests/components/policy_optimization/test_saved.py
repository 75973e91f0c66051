"""Saved is trained: a policy that is not the trained one, by a fault in between, is no output of the step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.errors import ArtifactError
from components.training.lora import merge_adapters
from components.training.runtime import save_policy
from tests.components.policy_optimization.helpers import optimize


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home"))


def spoiled(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put one fault between the trained and the saved policy."""

    def merge(model: Any) -> Any:
        merged = merge_adapters(model)
        with torch.no_grad():
            merged.model.layers[0].mlp.up_proj.weight.mul_(1.01)
        return merged

    def cast(model: Any, tokenizer: Any, folder: Path) -> None:
        save_policy(model, tokenizer, folder)
        file = folder / "model.safetensors"
        whole = load_file(file)
        save_file({name: value.bfloat16().float() for name, value in whole.items()}, file, {"format": "pt"})

    def reconfigure(model: Any, tokenizer: Any, folder: Path) -> None:
        save_policy(model, tokenizer, folder)
        text = (folder / "config.json").read_text()
        (folder / "config.json").write_text(text.replace('"rope_theta": 10000.0', '"rope_theta": 9000.0'))

    name, value = {
        "merge": ("merge_adapters", merge),
        "cast": ("save_policy", cast),
        "config": ("save_policy", reconfigure),
    }[fault]
    monkeypatch.setattr(f"components.policy_optimization.run.{name}", value)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("merge", "what would be saved is not what was trained .*adapters on all-linear cannot be folded"),
        ("cast", r"what was saved is not what was trained .*differ: lm_head.weight, .* and \d+ more\). Rerun"),
        ("config", "what was saved is not what was trained .*differ: none, so its config"),
    ],
)
def test_a_policy_that_is_not_the_trained_one_is_no_output(
    fault: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoiled(fault, monkeypatch)
    with pytest.raises(ArtifactError, match=f"^policy_optimization: {message}"):
        optimize(tmp_path, lora={"rank": 2}, optimization={"max_steps": 1})
    assert not (tmp_path / "out" / "policy").exists()


def test_what_is_saved_is_in_the_precision_of_the_trained_weights(tmp_path: Path) -> None:
    """bf16 is how steps are computed; the weights that are trained and saved are fp32, and the config says so."""
    optimize(tmp_path, compute={"precision": "bf16"}, optimization={"max_steps": 2})
    saved = load_file(tmp_path / "out" / "policy" / "model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.float32}
    assert json.loads((tmp_path / "out" / "policy" / "config.json").read_text())["dtype"] == "float32"

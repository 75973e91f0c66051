"""A reward model split over two processes is the one that a single process fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from components.contract import run_component
from tests.components.reward_modeling.helpers import labelled_pairs, write_dataset
from tests.components.training.helpers import torchrun
from tests.tiny import save_tiny_policy

pytestmark = pytest.mark.slow

FAST: dict[str, Any] = {
    "learning_rate": 1.0e-3,
    "batch_size": 8,
    "epochs": 1,
    "warmup": 0.0,
    "micro_batch_tokens": 200,
    "max_grad_norm": 0.5,
}
CASES: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora": {"rank": 4}},
    "pairs only": {"kind": {"name": "gpm"}, "objective": {"name": "general_preference"}},
}


def fit(folder: Path, name: str, sharded: bool) -> dict[str, Any]:
    settings = {
        "optimization": {**FAST, "sharded": sharded},
        "compute": {"threads": 1, "processes": 1 + sharded},
        "max_length": 128,
        **CASES[name],
    }
    paths = {"dataset": [folder / "dataset"], "base": [folder / "policy"]}
    model = folder / f"{name}-{1 + sharded}"
    return dict(run_component("reward_modeling", settings, paths, {"model": model}).metrics)


def work(place: str) -> None:
    for name in CASES:
        fit(Path(place), name, sharded=True)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    save_tiny_policy(folder / "policy", initializer_range=0.05)
    write_dataset(folder / "dataset", labelled_pairs(32, 0), labelled_pairs(8, 1), labelled_pairs(8, 2))
    done = torchrun("tests.components.reward_modeling.test_sharded.work", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", CASES)
def test_two_shares_fit_what_one_process_fits(two: Path, name: str) -> None:
    """The head is one row: the second process has nothing of it."""
    fit(two, name, sharded=False)
    found = load_file(two / f"{name}-2" / "model.safetensors")
    for key, value in load_file(two / f"{name}-1" / "model.safetensors").items():
        torch.testing.assert_close(found[key], value, atol=1e-5, rtol=0, msg=key)

"""2 processes x 4 rows == 1 process x 8 rows, by torchrun and gloo; a resume works there too."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from components.training import distributed
from tests.components.training.helpers import fit, pair_task, pairs, torchrun, weights
from tests.tiny import tiny_model

PAIRS = pairs(21)  # 3 batches of 7: an odd number of rows to share

pytestmark = pytest.mark.slow


def run(place: str | Path, end_at: int = 0) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Five steps in micro-batches of different number per process; optionally ended by SIGTERM on one rank only."""
    folder = Path(place)
    steps = [0]

    def metrics(values: dict[str, np.ndarray]) -> dict[str, float]:
        steps[0] += 1
        if steps[0] == end_at and distributed.is_main():
            os.kill(os.getpid(), signal.SIGTERM)
        return {"logps/chosen": float(values["chosen_logps"].mean()), "rows": float(len(values["chosen_logps"]))}

    model = tiny_model()
    task = pair_task(PAIRS, metrics=metrics)
    trained = fit(model, task, folder / "work", max_steps=5, micro_batch_tokens=80, checkpoint_every=100)
    if distributed.is_main():
        (folder / "log.json").write_text(json.dumps(trained.log))
        save_file({name: value.clone() for name, value in weights(model).items()}, folder / "weights.safetensors")
    return trained.log, weights(model)


def launch(folder: Path, end_at: int = 0) -> int:
    return torchrun("tests.components.training.test_distributed.run", folder, end_at).returncode


def assert_same(folder: Path, log: list[dict[str, float]], values: dict[str, Any]) -> None:
    found = json.loads((folder / "log.json").read_text())
    assert len(found) == len(log)
    for ours, theirs in zip(log, found, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-4, abs=1e-5)
    for name, value in load_file(folder / "weights.safetensors").items():
        assert (value - values[name]).abs().max() < 5e-5, name


def test_two_processes_equal_one(tmp_path: Path) -> None:
    log, values = run(tmp_path)
    assert launch(tmp_path / "two") == 0
    assert_same(tmp_path / "two", log, values)


def test_a_stop_seen_by_one_process_stops_both_and_both_resume(tmp_path: Path) -> None:
    log, values = run(tmp_path)
    assert launch(tmp_path / "two", end_at=2) != 0
    assert [path.name for path in (tmp_path / "two" / "work").iterdir()] == ["step-00000003"]
    assert launch(tmp_path / "two") == 0
    assert_same(tmp_path / "two", log, values)

"""N steps in one go == k steps, any kind of end, and the rest: to the bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from components.errors import ArtifactError
from tests.components.training.helpers import fit, pair_task, pairs, weights
from tests.tiny import tiny_model

STEPS = 10
PAIRS = pairs(24)
CHILD = """
import os, sys
from pathlib import Path
from tests.components.training.test_resume import run
run(Path(sys.argv[1]), end_at=int(sys.argv[2]), how=lambda: os.kill(os.getpid(), int(sys.argv[3])))
"""


def run(workdir: Path, *, end_at: int = 0, how: Any = None, identity: str = "test") -> tuple[Any, dict[str, Any]]:
    """Train for STEPS steps with a checkpoint every 3; call `how` within step `end_at`."""
    steps = [0]

    def metrics(values: dict[str, Any]) -> dict[str, float]:
        steps[0] += 1
        if steps[0] == end_at:
            how()
        return {"logps/chosen": float(values["chosen_logps"].mean())}

    model = tiny_model()
    task = pair_task(PAIRS, metrics=metrics)
    trained = fit(
        model,
        task,
        workdir,
        identity=identity,
        max_steps=STEPS,
        checkpoint_every=3,
        schedule="cosine",
        warmup=0.2,
        weight_decay=0.1,
    )
    return trained, weights(model)


def child(workdir: Path, end_at: int, number: int) -> int:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", CHILD, str(workdir), str(end_at), str(number)]
    return subprocess.run(command, env=environment, cwd=Path.cwd(), capture_output=True, timeout=120).returncode


def assert_equal_to_straight(tmp_path: Path, resumed: tuple[Any, dict[str, Any]]) -> None:
    straight = run(tmp_path / "straight")
    assert json.dumps(resumed[0].log) == json.dumps(straight[0].log)
    assert (resumed[0].steps, resumed[0].rows, resumed[0].tokens) == (STEPS, straight[0].rows, straight[0].tokens)
    for name, value in straight[1].items():
        assert torch.equal(resumed[1][name], value), name


def crash() -> None:
    raise RuntimeError("power cut")


@pytest.mark.parametrize("step", [2, 4, 7])
def test_a_crash_resumes_from_the_last_checkpoint(tmp_path: Path, step: int) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path / "work", end_at=step, how=crash)
    done = sorted(path.name for path in (tmp_path / "work").glob("step-*"))
    assert done == ([] if step < 4 else [f"step-{3 * ((step - 1) // 3):08d}"])
    assert_equal_to_straight(tmp_path, run(tmp_path / "work"))


def test_kill_dash_nine_resumes_bitwise(tmp_path: Path) -> None:
    assert child(tmp_path / "work", 8, signal.SIGKILL) == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["step-00000006"]
    assert_equal_to_straight(tmp_path, run(tmp_path / "work"))


def test_sigterm_writes_a_checkpoint_and_exits_143(tmp_path: Path) -> None:
    """The signal comes within step 5, which is finished; the stop is seen in step 6, which is kept."""
    assert child(tmp_path / "work", 5, signal.SIGTERM) == 143
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["step-00000006"]
    assert_equal_to_straight(tmp_path, run(tmp_path / "work"))


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path, end_at=5, how=crash)
    with pytest.raises(ArtifactError, match="belongs to another run"):
        run(tmp_path, identity="other")


def test_half_written_checkpoints_are_ignored(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path / "work", end_at=5, how=crash)
    (tmp_path / "work" / "step-00000009.tmp-12345678").mkdir()
    assert_equal_to_straight(tmp_path, run(tmp_path / "work"))


def test_checkpoints_hold_no_pickle(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        run(tmp_path, end_at=5, how=crash)
    names = sorted(path.name for path in (tmp_path / "step-00000003").iterdir())
    assert names == ["model.safetensors", "optimizer.safetensors", "progress.json"]

"""The component under torchrun: two processes give what one gives, and only the first one writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.components.policy_optimization.helpers import FAST, inputs, log, merged, optimize

pytestmark = pytest.mark.slow


def test_two_processes_train_the_same_kto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KTO's reference point and the reference pass are shared out over processes too."""
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home"))
    settings = {"objective": {"name": "kto"}, "optimization": {"micro_batch_tokens": 100}}
    optimize(tmp_path, "one", **settings)
    params = merged(merged(FAST, settings), {"compute": {"processes": 2}})
    (tmp_path / "params.json").write_text(json.dumps({"policy_optimization": params}))  # JSON is YAML
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "components",
    ]
    command += ["run", "policy_optimization", "--params", str(tmp_path / "params.json")]
    for port, paths in inputs(tmp_path).items():
        command += ["--in", f"{port}={paths[0]}"]
    for port in ("policy", "reference_logprobs"):
        command += ["--out", f"{port}={tmp_path / 'two' / port}"]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("policy_optimization@2 policy ") >= 1
    for one, two in zip(log(tmp_path, "one"), log(tmp_path, "two"), strict=True):
        assert two == pytest.approx(one, rel=1e-3, abs=1e-4)

"""What one device cannot hold: a model split over two processes is trained as it is in one, and stays resumable.

One launch of two processes does everything (`work`); the tests compare what it wrote with a plain run in this process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from components.errors import ArtifactError, ParamsError, WiringError
from components.training import distributed, sharding
from components.training.engine import replicas
from components.training.loop import Trained
from components.training.lora import add_adapters, merge_adapters
from components.training.params import Lora
from tests.components.training.helpers import fit, pair_task, pairs, torchrun, weights
from tests.tiny import tiny_model

PAIRS = pairs(21)  # 3 batches of 7: an odd number of rows to share
LEFT = 14  # rows that are left when a run was stopped after three of five steps
TINY: dict[str, Any] = {"vocab": 321, "hidden": 32}  # an odd number of rows: shares of unequal size
Weights = dict[str, torch.Tensor]
CASES: dict[str, dict[str, Any]] = {
    "untied": {"weight_decay": 0.1},
    "tied": {"tied": True, "gradient_checkpointing": True},
    "lora": {"rank": 1},  # matrices of one row: the second process has nothing of them
    "bf16": {"precision": "bf16", "gradient_checkpointing": True},
}


def run(folder: Path, case: str, *, end_at: int = 0, sharded: bool = False) -> tuple[Trained, Weights]:
    """Five steps, clipped, in micro-batches of different number per process; stopped after step `end_at`, if any."""
    settings = dict(CASES[case])
    model = tiny_model(**TINY, tie_word_embeddings=settings.pop("tied", False))
    model = add_adapters(model, Lora(rank=settings.pop("rank", 0)), seed=0)
    steps = [0]

    def metrics(values: dict[str, np.ndarray]) -> dict[str, float]:
        steps[0] += 1
        if steps[0] == end_at and distributed.is_main():
            os.kill(os.getpid(), signal.SIGTERM)
        return {"logps/chosen": float(values["chosen_logps"].mean()), "rows": float(len(values["chosen_logps"]))}

    defaults = {"max_steps": 5, "micro_batch_tokens": 80, "checkpoint_every": 100, "max_grad_norm": 0.05}
    task = pair_task(PAIRS, metrics=metrics)
    trained = fit(model, task, folder, **{**defaults, **settings}, sharded=sharded)
    model = merge_adapters(model)
    assert model.get_output_embeddings().weight.shape == (321, 32)
    return trained, weights(model)


def keep(folder: Path, trained: Trained, values: Weights) -> None:
    if distributed.is_main():
        folder.mkdir(parents=True)
        (folder / "log.json").write_text(json.dumps(trained.log))
        save_file({name: value.clone() for name, value in values.items()}, folder / "weights.safetensors")


def work(place: str) -> None:
    """All that two processes are needed for."""
    folder = Path(place)
    distributed.start(torch.device("cpu"))
    for case in CASES:
        keep(folder / case, *run(folder / f"{case}-work", case, sharded=True))
    with pytest.raises(SystemExit):
        run(folder / "stopped", "untied", end_at=2, sharded=True)
    if distributed.is_main():
        shutil.copytree(folder / "stopped", folder / "for-one")
    distributed.barrier()
    for stopped, name in (("stopped", "resumed"), ("of-one", "from-one")):
        trained, values = run(folder / stopped, "untied", sharded=True)
        assert trained.seconds_rows == LEFT
        keep(folder / name, trained, values)
    homes = folder / f"home-{distributed.rank()}"
    with pytest.raises(SystemExit):
        run(homes, "untied", end_at=2, sharded=True)
    with pytest.raises(ArtifactError, match=r"see different checkpoints \(got step [03] here\). Set PREFLOW_HOME"):
        run(homes, "untied", sharded=True)
    with pytest.raises(WiringError, match="run different things"):
        fit(tiny_model(), pair_task(PAIRS), folder, identity=f"of process {distributed.rank()}", sharded=True)
    shares(folder)


def shares(folder: Path) -> None:
    """How many numbers each process holds of a sharded model, and that a model comes back as it went."""
    root = nn.Sequential(tiny_model(**TINY, tie_word_embeddings=True))
    before, whole = weights(root), sum(parameter.numel() for parameter in root.parameters())
    copied = sharding.shard(root, torch.device("cpu"))
    held: list[Any] = [parameter.to_local().numel() for parameter in copied.parameters()]  # type: ignore[operator]
    left = sum(parameter.numel() for parameter in root.parameters())
    (folder / f"shares-{distributed.rank()}.json").write_text(json.dumps([sum(held), left, whole]))
    sharding.put_back(copied, root)
    assert all(torch.equal(value, before[name]) for name, value in weights(root).items())
    assert root[0].get_output_embeddings().weight is root[0].get_input_embeddings().weight


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    with pytest.raises(SystemExit):
        run(folder / "of-one", "untied", end_at=2)
    done = torchrun("tests.components.training.test_sharded.work", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def assert_same(folder: Path, trained: Trained, values: Weights, limit: float = 1e-5) -> None:
    for ours, theirs in zip(trained.log, json.loads((folder / "log.json").read_text()), strict=True):
        assert theirs == pytest.approx(ours, rel=limit, abs=limit)
    found = load_file(folder / "weights.safetensors")
    gaps = {name: (value - found[name]).abs().max().item() for name, value in values.items()}
    assert max(gaps.values()) < limit, gaps


@pytest.mark.parametrize("case", ["untied", "tied", "lora"])
def test_two_shares_train_what_one_process_trains(two: Path, tmp_path: Path, case: str) -> None:
    trained, values = run(tmp_path, case)
    assert min(line["grad_norm"] for line in trained.log) > 0.05  # clipping is active
    assert_same(two / case, trained, values)


def test_bf16_stays_near_fp32(two: Path, tmp_path: Path) -> None:
    trained, _ = run(tmp_path, "untied")
    losses = [line["loss"] for line in json.loads((two / "bf16" / "log.json").read_text())]
    assert losses == pytest.approx([line["loss"] for line in trained.log], rel=0.05)


def test_a_stopped_sharded_run_resumes_to_the_bit(two: Path) -> None:
    assert (two / "resumed" / "log.json").read_bytes() == (two / "untied" / "log.json").read_bytes()
    straight = load_file(two / "untied" / "weights.safetensors")
    for name, value in load_file(two / "resumed" / "weights.safetensors").items():
        assert torch.equal(value, straight[name]), name


def test_a_checkpoint_serves_any_number_of_processes(two: Path, tmp_path: Path) -> None:
    """One process goes on from the checkpoint of two shares, and two shares go on from that of one process."""
    assert [path.name for path in (two / "for-one").iterdir()] == ["step-00000003"]
    assert_same(two / "from-one", *run(tmp_path, "untied"))
    trained, values = run(two / "for-one", "untied")
    assert trained.seconds_rows == LEFT
    assert_same(two / "untied", trained, values)


def test_each_process_holds_half_and_the_model_comes_back_whole(two: Path) -> None:
    held, left, whole = zip(*(json.loads((two / f"shares-{rank}.json").read_text()) for rank in (0, 1)), strict=True)
    assert left == (0, 0)
    assert sum(held) == whole[0]
    assert max(held) < 0.51 * whole[0]


def test_the_environment_does_not_choose_to_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(ParamsError, match=r"ACCELERATE_USE_FSDP: .* set optimization.sharded: true"):
        replicas(torch.device("cpu"))


def test_one_process_has_nothing_to_split_over(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"optimization.sharded: .* \(got compute.processes 1\). Set"):
        fit(tiny_model(), pair_task(PAIRS), tmp_path, sharded=True)

"""The component with its model split over two processes that share no disk: what one process gives, and no hang.

One launch of two processes does everything (`work`); the tests compare what it wrote with runs in this process.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from components.errors import ParamsError, WiringError
from components.training import distributed
from tests.components.policy_optimization.helpers import inputs, log, merged, optimize
from tests.components.training.helpers import torchrun

SMALL: dict[str, Any] = {"optimization": {"micro_batch_tokens": 200, "max_grad_norm": 0.5, "learning_rate": 1e-3}}
CASES: dict[str, dict[str, Any]] = {
    "dpo": {},
    # its reference point calls the model outside of the loss, in batches of another number per process
    "kto": {"objective": {"name": "kto"}, "optimization": {"micro_batch_tokens": 100}},
    "sft": {"objective": {"name": "sft"}, "lora": {"rank": 4}},
    # a second model beside the policy, its whole vocabulary, and an axis of tokens
    "tdpo2": {"objective": {"name": "tdpo2"}},
    "plackett_luce": {"objective": {"name": "plackett_luce"}},
    "bco": {"objective": {"name": "bco"}, "reference": {"name": "live"}},
}
TWO = {"compute": {"processes": 2}}


def cached(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "cache" / "reference_logprobs").iterdir())


def work(place: str) -> None:
    folder, rank = Path(place), distributed.rank()
    home = folder / f"home-{rank}"
    os.environ["PREFLOW_HOME"] = str(home)
    for name, settings in CASES.items():
        sharded = merged(merged(merged(SMALL, settings), TWO), {"optimization": {"sharded": True}})
        made = optimize(folder, f"two-{name}", **sharded)
        (folder / f"{name}-{rank}.json").write_text(json.dumps(dict(made.metrics)))
    assert len(cached(home)) == 2  # that of pairs (lists of two are the same) and KTO's, on both disks
    if rank == 1:
        shutil.rmtree(home / "cache" / "reference_logprobs")
    optimize(folder, "two-again", **merged(SMALL, TWO))  # the first has the reference cached, the second has not
    assert len(cached(home)) == 2 - rank
    with pytest.raises(WiringError, match="run different things"):
        optimize(folder, "two-other", seed=rank, **merged(SMALL, TWO))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    inputs(folder)
    done = torchrun("tests.components.policy_optimization.test_sharded.work", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def assert_same(folder: Path, one: str, two: str) -> None:
    for ours, theirs in zip(log(folder, one), log(folder, two), strict=True):
        if ours["step"] == 1:  # the sign of a margin of 0 is rounding
            theirs["rewards/accuracies"] = ours["rewards/accuracies"] = 0.0
        assert theirs == pytest.approx(ours, rel=1e-5, abs=1e-5)
    found = load_file(folder / two / "policy" / "model.safetensors")
    for name, value in load_file(folder / one / "policy" / "model.safetensors").items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0, msg=name)


@pytest.mark.parametrize("name", CASES)
def test_two_shares_give_the_policy_that_one_process_gives(two: Path, name: str) -> None:
    made = optimize(two, f"one-{name}", **merged(SMALL, CASES[name]))
    assert_same(two, f"one-{name}", f"two-{name}")
    for rank in (0, 1):
        metrics = json.loads((two / f"{name}-{rank}.json").read_text())
        for key, value in made.metrics.items():
            if isinstance(value, dict):  # an estimate; a bound that is not known is None in both
                assert {name: metrics[key][name] is None for name in value} == {n: v is None for n, v in value.items()}
                value, metrics[key] = ({n: v for n, v in one.items() if v is not None} for one in (value, metrics[key]))
            assert metrics[key] == pytest.approx(value, rel=1e-4, abs=1e-4), key


def test_a_cache_that_only_one_machine_has_is_made_again(two: Path) -> None:
    assert_same(two, "two-dpo", "two-again")


def test_sharding_over_one_process_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params.policy_optimization.optimization.sharded: .* Set compute.processes"):
        optimize(tmp_path, optimization={"sharded": True})

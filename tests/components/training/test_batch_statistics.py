"""What is measured of a whole batch: against values worked by hand, with the memory that lies in the checkpoint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from components.contract import Choice
from components.errors import ParamsError
from components.objectives import BATCH_STATISTICS, resolve
from components.objectives.batch_statistics import mean_log_ratio, mismatched, reference_kl
from components.sequences import Example, Sequence
from components.training import batch_statistics
from components.training.scorer import Scorer

SCORER = Scorer(shared=False, device=torch.device("cpu"), precision="fp32", budget=4)
EXAMPLES = [Example((Sequence([i], [10 + i, 2]),), {"desirable": 1.0}, 1.0, str(i)) for i in range(3)]


def array(*numbers: float) -> np.ndarray:
    return np.array(numbers)


def test_mismatched_examples_keep_the_prompt_and_take_the_next_completion() -> None:
    found = [(one.sequences[0].prompt_ids, one.sequences[0].completion_ids) for one in mismatched(EXAMPLES)]
    assert found == [([0], [11, 2]), ([1], [12, 2]), ([2], [10, 2])]  # a reversal would leave the middle with itself
    with pytest.raises(ParamsError, match="got a batch of 1"):
        mismatched(EXAMPLES[:1])


def test_the_reference_point_is_a_mean_of_log_ratios_at_least_zero() -> None:
    assert reference_kl(array(-1, -2), array(-2, -4)) == 1.5  # ((-1+2) + (-2+4)) / 2
    assert reference_kl(array(-3), array(-1)) == 0.0
    assert reference_kl(array(-1, np.nan), array(-2, -4)) == 1.0
    assert reference_kl(array(np.nan), array(-2)) == 0.0


def test_the_running_mean_is_that_of_all_rows_so_far_the_batch_first() -> None:
    """Log-ratios 1, 3, then 8: means 2 and 4."""
    value, state = mean_log_ratio({"mean": 0.0, "count": 0.0}, array(-1, -1), array(-2, -4))
    assert (value, state) == (2.0, {"mean": 2.0, "count": 2.0})
    value, state = mean_log_ratio(state, array(-1, np.nan), array(-9, -1))
    assert (value, state) == (4.0, {"mean": 4.0, "count": 3.0})


def fake(model: Any, some: list[Example], needs: Any) -> dict[str, Tensor]:
    """Log-probability of a completion: minus its first token; the reference says 0."""
    logps = torch.tensor([-float(one.sequences[0].completion_ids[0]) for one in some])
    return {"completion_logps": logps, "completion_ref_logps": torch.zeros(len(some))}


def test_what_an_objective_takes_is_measured_on_what_it_asks_for() -> None:
    """KTO: on mismatched completions (whose mean here is below 0), nothing to remember. BCO: on the batch itself."""
    kto = batch_statistics.of(resolve(Choice("kto"), "policy"))
    assert kto.start() == {}
    assert list(kto.also_scored(EXAMPLES)) == ["mismatched"]
    assert kto.measure(None, EXAMPLES, {}, SCORER, fake) == ({"reference_kl": 0.0}, {})  # type: ignore[arg-type]
    bco = batch_statistics.of(resolve(Choice("bco"), "policy"))
    assert bco.also_scored(EXAMPLES) == {}
    values, state = bco.measure(None, EXAMPLES, bco.start(), SCORER, fake)  # type: ignore[arg-type]
    assert values == {"mean_log_ratio": -11.0}
    assert state == {"mean_log_ratio": {"mean": -11.0, "count": 3.0}}
    assert bco.start() == {"mean_log_ratio": {"mean": 0.0, "count": 0.0}}  # the state was not changed in place


def test_an_objective_without_statistics_has_none() -> None:
    assert not batch_statistics.of(resolve(Choice("dpo"), "policy"))


@pytest.mark.parametrize("name", list(BATCH_STATISTICS.rows))
def test_a_row_that_remembers_says_where_it_starts(name: str) -> None:
    row = BATCH_STATISTICS[name]
    assert ("state" in row.facts) == (row.needs[0] == "state")

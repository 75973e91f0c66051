"""What is measured stands in the parameters, row by row."""

from __future__ import annotations

import pytest

from components.contract.params import build, read_params_file
from components.errors import ParamsError
from components.evaluation.params import Params
from components.measures.table import MEASURES
from tests.house.tree import ROOT


def test_the_flows_measure_everything() -> None:
    """A new row is measured when its line stands in params.yaml: then the identity of evaluation says so."""
    params = build(Params, read_params_file(ROOT / "params.yaml")["evaluation"], "evaluation")
    assert [choice.name for choice in params.measures] == list(MEASURES.rows)


def test_a_measure_of_another_revision_is_refused() -> None:
    with pytest.raises(ParamsError, match=r"measures\[0\].revision: win_rate is at revision 1 here \(got 2\)"):
        build(Params, {"measures": [{"name": "win_rate", "revision": 2}]}, "evaluation")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"measures": [{"name": "win_rat"}]}, "win_rate"),
        ({"resamples": 10}, "resamples: must be >= 100"),
        ({"showcase": -1}, "showcase: must be >= 0"),
        ({"rule": "sum"}, "rule"),
    ],
)
def test_impossible_params_are_errors(bad: dict[str, object], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        build(Params, bad, "evaluation")

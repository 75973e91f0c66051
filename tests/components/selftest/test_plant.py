"""Every planted fault is named where the table says, or is a known gap; the clean project raises nothing."""

from __future__ import annotations

import pytest

from components.contract.table import Row
from components.errors import ParamsError
from components.selftest.plant import Outcome, Project, chosen
from components.selftest.table import SILENT_BUGS

GAPS = {
    "sides_swapped",
    "answers_of_other_prompts",
    "escaped_for_html",
    "length_decides",
    "longer_positions_than_trained",
    "doubled_eos",
}
"""A gap that is closed leaves this list and gets its rule; none may be added in silence."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("selftest"))


@pytest.mark.parametrize("fault", chosen([]), ids=lambda row: row.name)
def test_fault_is_named_before_training(fault: Row, project: Project) -> None:
    outcome = project.plant(fault)
    assert outcome.status == ("gap" if fault.name in GAPS else "named"), outcome


def test_enough_faults_are_named() -> None:
    assert sum(bool(row.facts["rule"]) for row in SILENT_BUGS) >= 40


def test_a_fault_that_is_not_planted_counts_as_missed() -> None:
    assert Outcome(SILENT_BUGS["empty_answer"], "").status == "missed"


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ParamsError, match="empty_answer"):
        chosen(["empty_answr"])

"""docs/methods.md: every id of the specification once, and where it lives as the tables and the code say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract.table import Table
from components.methods import TABLES, specification
from components.methods.specification import FAMILIES, ID, carried_out, page, rows_by_method

COUNTS = {"FMT": 20, "CONV": 15, "SRC": 29, "PC": 21, "AGG": 9, "AGR": 6, "RM": 58, "VAL": 5, "PO": 110, "EVAL": 42}


def test_every_family_has_the_ids_that_the_specification_gives_it() -> None:
    found = [method.family for method in specification.specification().values()]
    assert {family: found.count(family) for family in FAMILIES} == COUNTS


def test_every_id_has_a_name_and_they_stand_in_order() -> None:
    methods = list(specification.specification().values())
    assert [method.id for method in methods if not method.name.strip()] == []
    order = [(list(FAMILIES).index(method.family), int(method.id.split("-")[1])) for method in methods]
    by_family = [number for _, number in sorted(order)]
    assert [number for family in FAMILIES for number in _numbers(methods, family)] == by_family


def _numbers(methods: list[specification.Method], family: str) -> list[int]:
    return [int(method.id.split("-")[1]) for method in methods if method.family == family]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("PO-01, RM-05 and EVAL-38 c", ["PO-01", "RM-05", "EVAL-38"]),
        ("fault F3, seam F17, UTF-8, 4-6, XPO-01 and PO-1", []),
        ("CONV-14.", ["CONV-14"]),
    ],
)
def test_what_an_id_looks_like(text: str, ids: list[str]) -> None:
    assert ID.findall(text) == ids


CODE = '''\
"""How votes are counted (AGG-01).

Unlike AGG-03.
"""

LIMIT = 3  # AGR-01
NAME = "AGR-02"


def public() -> None:
    """Counts (AGG-07)."""


def _private() -> None:
    """Counts (AGG-06)."""
'''


def test_code_that_names_an_id_where_it_says_what_it_is_carries_it_out(tmp_path: Path) -> None:
    (tmp_path / "components").mkdir()
    (tmp_path / "components" / "votes.py").write_text(CODE)
    place = ["components/votes.py"]
    assert carried_out(tmp_path) == {"AGG-01": place, "AGG-07": place, "AGR-01": place}


ROWS = '''\
"""Rows."""

@EXAMPLES.row(method=("AGG-01", "AGG-02"), source="")
def one(x): "One."

@EXAMPLES.row(method="AGG-02", source="", status="experimental")
def two(x): "Two."

@EXAMPLES.row(method="AGG-04", source="", status="experimental")
def three(x): "Three."
'''


def test_the_page_says_what_is_built_what_is_in_code_and_what_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "examples_of_rows.py").write_text(ROWS)
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "x.py").write_text('"""Adjudication (AGG-05)."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    table = Table("examples", "example", "examples_of_rows", "Examples.")
    assert {name: [row.name for _, row in rows] for name, rows in rows_by_method({"examples": table}).items()} == {
        "AGG-01": ["one"],
        "AGG-02": ["one", "two"],
        "AGG-04": ["three"],
    }
    lines = page({"examples": table}, tmp_path)
    ends = {
        line.split(" | ")[0].removeprefix("| "): line.split(" | ")[3:] for line in lines if line.startswith("| AGG")
    }
    assert ends["AGG-01"] == ["built", "[`one`](examples.md#one) |"]
    assert ends["AGG-02"] == ["built", "[`one`](examples.md#one), [`two`](examples.md#two) |"]
    assert ends["AGG-03"] == ["not built yet", " |"]
    assert ends["AGG-04"] == ["experimental", "[`three`](examples.md#three) |"]
    assert ends["AGG-05"] == ["in code", "[flows/x.py](../flows/x.py) |"]
    assert sum(line.count("not built yet") for line in lines) == sum(COUNTS.values()) - 4


@pytest.mark.parametrize("name", TABLES)
def test_every_id_of_a_row_is_one_of_the_specification(name: str) -> None:
    unknown = {row.name: method for row in TABLES[name] for method in row.method}
    known = specification.specification()
    assert {row: method for row, method in unknown.items() if method not in known} == {}

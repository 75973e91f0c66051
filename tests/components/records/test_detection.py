"""The format of a file is told by all of its rows that are looked at; where they disagree nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import DataError
from components.records.importers import IMPORTERS, detect
from tests.components.records.importer_cases import GOOD, POST, TRL, VOTES
from tests.components.records.test_importers import lines, load, write


@pytest.mark.parametrize("name", GOOD)
def test_the_format_is_told_by_the_columns(tmp_path: Path, name: str) -> None:
    path = lines(tmp_path / "x.jsonl", GOOD[name])
    assert detect(path) == name
    assert load(path, format=name) == load(path)
    unreadable = tmp_path / "bad-first.jsonl"
    unreadable.write_bytes(b"{cut\n" + path.read_bytes())
    assert detect(unreadable) == name


@pytest.mark.parametrize("name", GOOD)
def test_no_row_is_of_two_formats(name: str) -> None:
    """Then the order of files in a folder of code would decide."""
    for row in GOOD[name]:
        assert [other.name for other in IMPORTERS if other.name != "auto" and other.extra("matches")(row)] == [name]


def test_a_file_that_could_be_two_formats_is_not_guessed(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", [POST | TRL[0]])
    with pytest.raises(DataError, match=r"trl, shp.*format\.name=NAME"):
        load(path)


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl", b'{"question": 1, "text": 2}\n')
    with pytest.raises(DataError, match=r"not recognised .got columns question, text") as caught:
        load(path)
    assert all(f"{name}:" in str(caught.value) for name in GOOD)


def test_rows_of_two_formats_are_refused_with_a_row_of_each(tmp_path: Path) -> None:
    """One in twenty; one in two hundred is quarantined, wherever it stands."""
    with pytest.raises(DataError, match=r"trl: 19 rows, such as line 2; labels: 1 rows, such as line 1"):
        load(lines(tmp_path / "x.jsonl", [VOTES[0], *([TRL[0]] * 19)]))
    for place in (0, 199):
        rows = [TRL[0]] * 199
        rows.insert(place, VOTES[0])
        records, bad = load(lines(tmp_path / "y.jsonl", rows))
        assert (len(records), [(q.line, q.rule) for q in bad]) == (199, [(place + 1, "other_format")])


def test_rows_behind_those_that_were_looked_at_are_compared_too(tmp_path: Path) -> None:
    records, bad = load(lines(tmp_path / "x.jsonl", [TRL[0]] * 1000 + [VOTES[0]] * 100))
    assert (len(records), {q.rule for q in bad}, len(bad)) == (1000, {"other_format"}, 100)

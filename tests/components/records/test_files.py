"""Records survive every file format unchanged, and the same records give the same bytes."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.errors import ArtifactError, RecordError
from components.records import RECORD, read_records, validate, write_parquet, write_records
from tests.components.records.samples import JUDGMENTS, record

RECORDS = [
    record(),
    record(*(copy.deepcopy(JUDGMENTS[kind]) for kind in JUDGMENTS)),
    record(prompt="Ünïcode \u2028 line separator, \U0001f600, tab\t, \x00", context={"scenario": "x"}),
    record(quality={"confidence": 1e-7, "duration_ms": 12, "parse_ok": True}),
]


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.parquet"])
def test_write_then_read_is_the_same(tmp_path: Path, name: str) -> None:
    """Equal records, equal types (1 stays an integer), and the ids still recompute."""
    assert write_records(tmp_path / name, RECORDS) == len(RECORDS)
    back = list(read_records(tmp_path / name))
    assert back == RECORDS
    assert list(map(repr, back)) == list(map(repr, RECORDS))
    for each in back:
        validate(each)


@pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz", "r.parquet"])
def test_same_records_same_bytes(tmp_path: Path, name: str) -> None:
    """No clock and no file name in the file."""
    (tmp_path / "other").mkdir()
    write_records(tmp_path / name, RECORDS)
    write_records(tmp_path / "other" / f"x{name}", RECORDS)
    assert (tmp_path / name).read_bytes() == (tmp_path / "other" / f"x{name}").read_bytes()


def test_parquet_has_one_column_per_field_and_json_in_the_nested_ones(tmp_path: Path) -> None:
    write_parquet(tmp_path / "r.parquet", RECORDS)
    table = pq.read_table(tmp_path / "r.parquet")
    assert table.column_names == list(RECORD)
    row = table.to_pylist()[0]
    assert row["record_id"] == RECORDS[0]["record_id"]
    assert json.loads(row["judgments"]) == RECORDS[0]["judgments"]


def test_parquet_refuses_a_field_it_would_lose(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="extra"):
        write_parquet(tmp_path / "r.parquet", [{**record(), "extra": 1}])


def test_no_records_is_a_valid_file(tmp_path: Path) -> None:
    for name in ("r.jsonl", "r.jsonl.gz", "r.parquet"):
        assert write_records(tmp_path / name, []) == 0
        assert list(read_records(tmp_path / name)) == []


def test_a_broken_line_says_where(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"a": 1}\n\n{"a": ')
    with pytest.raises(RecordError, match=r"r\.jsonl:3") as caught:
        list(read_records(tmp_path / "r.jsonl"))
    assert caught.value.line == 3


@pytest.mark.parametrize("name", ["no.jsonl", "no.parquet"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="no such file"):
        list(read_records(tmp_path / name))

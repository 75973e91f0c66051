"""Of a folder the feedback is read: nothing hidden, no copies, nothing from outside, nothing twice, nothing endless."""

from __future__ import annotations

import gzip
import json
import os
import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.errors import ArtifactError, DataError, ParamsError
from components.records.importers import Limits, usable_files
from components.records.importers.folder import plain_name
from components.records.importers.lines import read
from tests.components.records.importing import import_file

LINE = b'{"prompt": "Hi", "chosen": "x", "rejected": "y"}\n'


def put(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content or json.dumps({"name": str(path)}).encode())
    return path


LEFT_OUT = {
    ".hidden.jsonl": "hidden",
    ".ipynb_checkpoints/votes-checkpoint.jsonl": "hidden",
    "deep/.git/x.jsonl": "hidden",
    "._votes.jsonl": "hidden",
    "__MACOSX/votes.jsonl": "left by the system",
    "votes.jsonl~": "leftover",
    ".votes.jsonl.swp": "hidden",
    "#votes.jsonl#": "leftover",
    "votes.jsonl.bak": "leftover",
    "votes.jsonl.orig": "leftover",
    "votes.jsonl.part": "leftover",
    "copy of votes.jsonl": "copy",
    "votes - Copy.jsonl": "copy",
    "votes copy 2.jsonl": "copy",
    "README.md": "not one of",
    "empty.jsonl": "empty",
}


def test_what_is_no_feedback_is_left_out_and_listed_with_its_reason(tmp_path: Path) -> None:
    kept = [put(tmp_path / name) for name in ("a.jsonl", "b (1).jsonl", "photocopy.jsonl", "sub/c.jsonl.gz")]
    for name in LEFT_OUT:
        put(tmp_path / name)
    (tmp_path / "empty.jsonl").write_bytes(b"")
    found = usable_files(tmp_path)
    assert found.files == kept
    assert set(found.left_out) == set(LEFT_OUT)
    for name, reason in LEFT_OUT.items():
        assert reason in found.left_out[name], name


def test_a_file_that_is_named_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    assert len(list(import_file(put(tmp_path / ".hidden copy.jsonl", LINE)))) == 1


def test_names_in_the_inbox_are_such_that_they_are_read(tmp_path: Path) -> None:
    for name in ("Copy of votes.jsonl", ".votes.jsonl", "votes - Copy.jsonl.gz", "votes.jsonl", "copy of .jsonl"):
        put(tmp_path / plain_name(name))
    assert set(usable_files(tmp_path).left_out) == set()


def test_the_same_content_is_read_once_packed_or_linked(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", LINE)
    put(tmp_path / "b.jsonl", LINE)
    put(tmp_path / "c.jsonl.gz", gzip.compress(LINE))
    os.link(tmp_path / "a.jsonl", tmp_path / "d.jsonl")
    put(tmp_path / "other.jsonl", LINE.replace(b"Hi", b"Ho"))
    found = usable_files(tmp_path)
    assert [path.name for path in found.files] == ["a.jsonl", "other.jsonl"]
    assert set(found.left_out.values()) == {"the same content as a.jsonl"}


@pytest.mark.parametrize("pattern", ["../*", "a/../../*", "/etc/*", "", "**x", "a\\b", "..", "\x00", "[", "***"])
def test_a_pattern_cannot_leave_the_folder(tmp_path: Path, pattern: str) -> None:
    put(tmp_path / "in" / "a.jsonl", LINE)
    put(tmp_path / "b.jsonl", LINE)
    with pytest.raises((ParamsError, ArtifactError)):
        usable_files(tmp_path / "in", pattern)


def test_a_link_cannot_leave_the_folder_but_to_a_cache(tmp_path: Path) -> None:
    """DVC and the Hugging Face hub put links to their caches where files are looked for."""
    put(tmp_path / "secret.jsonl", LINE)
    cached = put(tmp_path / "cache/files/md5/ab" / ("c" * 30), LINE)
    put(tmp_path / "in" / "real.jsonl", LINE.replace(b"Hi", b"Ho"))
    (tmp_path / "in" / "a.jsonl").symlink_to(cached)
    (tmp_path / "in" / "inner.jsonl").symlink_to("real.jsonl")
    found = usable_files(tmp_path / "in")
    assert [path.name for path in found.files] == ["a.jsonl", "inner.jsonl"]
    (tmp_path / "in" / "z.jsonl").symlink_to("../secret.jsonl")
    with pytest.raises(DataError, match="outside of the folder"):
        usable_files(tmp_path / "in")


def test_a_linked_folder_is_not_entered(tmp_path: Path) -> None:
    put(tmp_path / "out" / "x.jsonl", LINE)
    put(tmp_path / "in" / "a.jsonl", LINE.replace(b"Hi", b"Ho"))
    (tmp_path / "in" / "loop").symlink_to(".")
    (tmp_path / "in" / "out").symlink_to("../out")
    found = usable_files(tmp_path / "in")
    assert [path.name for path in found.files] == ["a.jsonl"]
    assert set(found.left_out) == {"loop", "out"}
    with pytest.raises((ArtifactError, DataError)):
        usable_files(tmp_path / "in", "out/*")


def test_what_has_no_end_or_no_content_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "ring.jsonl").symlink_to("ring.jsonl")
    (tmp_path / "gone.jsonl").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as unix:
        os.chdir(tmp_path)
        unix.bind("socket.jsonl")
        for name in ("pipe", "ring", "gone", "socket"):
            with pytest.raises(DataError, match=rf"{name}\.jsonl"):
                list(import_file(tmp_path / f"{name}.jsonl"))
    with pytest.raises(DataError, match=r"gone\.jsonl"):
        usable_files(tmp_path)
    with pytest.raises(DataError, match="is a device"):
        list(import_file("/dev/zero"))


def test_a_name_that_is_not_unicode_is_left_out(tmp_path: Path) -> None:
    put(tmp_path / "a.jsonl", LINE)
    try:
        put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.jsonl")))
    except OSError:
        pytest.skip("this file system takes valid names only")
    assert usable_files(tmp_path).left_out == {"b\ufffd.jsonl": "its name is not valid Unicode"}


# --- bounds, each named with the parameter that raises it

SMALL = Limits(line_mib=1, file_gib=1, expansion=5, columns=3)


@pytest.mark.parametrize(
    ("content", "limit"),
    [(b'{"a": "' + b"x" * (2 << 20), "line_mib"), (b'{"a": 1}' + b" " * 1000 + b"\n", "expansion")],
)
def test_a_bomb_of_gzip_is_refused(tmp_path: Path, content: bytes, limit: str) -> None:
    content = content if limit == "line_mib" else content * 70_000
    path = put(tmp_path / "x.jsonl.gz", gzip.compress(content, 1))
    with pytest.raises(DataError, match=rf"raise human_feedback\.limits\.{limit}"):
        list(read(path, SMALL))
    assert len(list(read(path, Limits()))) > 0


def test_a_bomb_of_parquet_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """A dictionary with one long text, of which a thousand rows are made; many columns; a column twice."""
    path = tmp_path / "x.parquet"
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 1000), pa.array(["x" * (2 << 20)]))
    schema = pa.schema([("prompt", pa.string())])
    pq.write_table(pa.table({"prompt": texts}), path, compression="zstd", store_schema=False)
    assert pq.read_schema(path) == schema
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match=r"a row is longer than 1 MiB.*limits\.line_mib"):
        list(read(path, SMALL))
    pq.write_table(pa.table({str(i): [1] for i in range(4)}), path)
    with pytest.raises(DataError, match=r"has 4 columns.*limits\.columns"):
        list(read(path, SMALL))
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(DataError, match="'a' stands twice"):
        list(read(path))


def test_values_of_tables_are_as_json_has_them(tmp_path: Path) -> None:
    import datetime
    import decimal

    row = {
        "when": datetime.datetime(2025, 3, 1, 9),
        "much": decimal.Decimal("1.5"),
        "gone": None,
        "many": [{"a": None}],
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "x.parquet")
    (line,) = read(tmp_path / "x.parquet")
    assert line.row == {"when": "2025-03-01T09:00:00", "much": 1.5, "many": [{"a": None}]}

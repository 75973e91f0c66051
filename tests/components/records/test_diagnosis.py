"""A file that is no JSON lines is refused with the cause; the command in the message, if there is one, mends it."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from components.errors import DataError
from components.records.importers import detect
from tests.components.records.importing import import_file

ROWS = [{"prompt": f"Frage {i} über $HOME und `ls`?", "chosen": "schön", "rejected": 'no "quotes"'} for i in range(3)]
LINES = [json.dumps(row, ensure_ascii=False) for row in ROWS]
TEXT = "\n".join(LINES) + "\n"

MENDED = {
    "UTF-16": (TEXT.encode("utf-16"), "is UTF-16"),
    "UTF-32": (TEXT.encode("utf-32"), "is UTF-32"),
    "UTF-16 without mark": (TEXT.encode("utf-16-le"), "UTF-16 without its mark"),
    "UTF-16, big end first": (TEXT.encode("utf-16-be"), "UTF-16 without its mark"),
    "array": (json.dumps(ROWS).encode(), "one JSON array"),
    "pretty array": (json.dumps(ROWS, indent=2).encode(), "one JSON array"),
    "array of lines": (("[\n" + ",\n".join(LINES) + "\n]\n").encode(), "one JSON array"),
    "array with BOM": (b"\xef\xbb\xbf" + json.dumps(ROWS).encode(), "one JSON array"),
    "pretty": ("\n".join(json.dumps(row, indent=2) for row in ROWS).encode(), "pretty-printed"),
    "trailing commas": ("".join(line + ",\n" for line in LINES).encode(), "comma at the end"),
    "old Mac": ("\r".join(LINES).encode(), "old Macs"),
    "Python": ("".join(f"{row}\n" for row in ROWS).encode(), "Python mappings"),
    "Windows": (TEXT.encode("cp1252"), "not valid UTF-8"),
    "CSV, tabs": (b"prompt\tchosen\trejected\n" + b"q\ta\tb\n" * 3, "a table .CSV. with tabs"),
    "CSV, semicolons": (b"prompt;chosen;rejected\n" + b"q;a;b\n" * 3, "a table .CSV. with semicolons"),
    "CSV": (b"prompt,chosen,rejected\n" + b"q,a,b\n" * 3, "a table .CSV. with commas"),
}


@pytest.mark.parametrize("name", MENDED)
def test_the_cause_is_named_with_a_command_that_mends_it(tmp_path: Path, name: str) -> None:
    content, cause = MENDED[name]
    path = tmp_path / "x.jsonl"
    packed = tmp_path / "x.jsonl.gz"
    packed.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match=cause) as caught:
        list(import_file(packed))
    path.write_bytes(content)
    command = 'python -c "' + str(caught.value).partition('python -c "')[2]
    subprocess.run(shlex.split(command.replace("python", sys.executable, 1)), check=True, cwd=tmp_path)
    assert len(list(import_file(tmp_path / "x-mended.jsonl"))) == 3


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"\xef\xbb\xbf\n", "is empty"),
        (gzip.compress(TEXT.encode()), "is gzip although its name"),
        (bz2.compress(TEXT.encode()), "bzip2"),
        (lzma.compress(TEXT.encode()), "with xz"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
        (b"PAR1\x15\x04", r"is Parquet. Name it \.parquet"),
        (b"PK\x03\x04\x14", "zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html>", "a page"),
        (b"<html><body>404</body></html>", "a page"),
        (b"\x00\x01\x02\x00" * 30, "is no text"),
        (json.dumps(ROWS[0], indent=2).encode(), "pretty-printed"),
        ("\n".join(json.dumps(row, indent=2) for row in ROWS).encode(), "pretty-printed"),
        (b'"text"\n1\n', "none of its first 2 lines"),
        (b"# Notes\n\nNo data here.\n", "none of its first 2 lines"),
    ],
)
def test_the_cause_is_named(tmp_path: Path, content: bytes, cause: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=cause):
        list(import_file(path))


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        ("\n\n" + TEXT).encode(),
        TEXT.rstrip("\n").encode(),
        (LINES[0] + "\n").encode(),
        (f'{{"pad": "{"x" * 100_000}"}}\n' + TEXT * 200).encode(),  # the first line is longer than the look
    ],
)
def test_what_is_fine_is_read(tmp_path: Path, content: bytes) -> None:
    for name, data in (("x.jsonl", content), ("x.jsonl.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(data)
        assert detect(tmp_path / name) == "trl"

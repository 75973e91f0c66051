"""Files that went wrong elsewhere: one test for each case of the importers, by its name."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from components.contract.params import Choice
from components.errors import DataError
from components.records import Record, comparisons, flags, messages
from components.records.importers import Quarantined
from tests.components.records.importer_cases import chat
from tests.components.records.importing import import_file


def load(path: Path, format: str = "auto") -> tuple[list[Record], Counter[str]]:
    rows = list(import_file(path, Choice(format)))
    return [row for row in rows if isinstance(row, dict)], Counter(q.rule for q in rows if isinstance(q, Quarantined))


def texts(record: Record) -> tuple[Any, str, str]:
    (item,) = comparisons([record]).items
    return messages(record), item.chosen, item.rejected


FRUIT = chat("Case 0: name a fruit.")


@pytest.mark.parametrize(
    "name",
    [
        "first_row_is_odd",
        "dialogue_without_leading_lines",
        "answers_are_json_text",
        "empty_message_fields",
    ],
)
def test_what_each_row_means_is_read(cases_dir: Path, name: str) -> None:
    records, bad = load(cases_dir / f"{name}.jsonl")
    assert (len(records), bad) == (20, Counter())
    assert texts(records[0]) == (FRUIT, "A pear.", "A chair.")
    assert len({str(messages(record)) for record in records}) == 20


def test_no_blanks_chinese(cases_dir: Path) -> None:
    records, bad = load(cases_dir / "no_blanks_chinese.jsonl")
    assert (len(records), bad) == (20, Counter())
    assert texts(records[0]) == (chat("第0题，请说出一种水果。"), "梨。", "椅子。")


def test_prompt_repeated_in_answers(cases_dir: Path) -> None:
    """Removed, and counted by a flag."""
    records, bad = load(cases_dir / "prompt_repeated_in_answers.jsonl")
    assert (len(records), bad) == (20, Counter())
    assert texts(records[0]) == (FRUIT, " A pear.", " A chair.")
    assert all("prompt_repeated" in flags(record) for record in records)


def test_word_for_missing(cases_dir: Path) -> None:
    records, bad = load(cases_dir / "word_for_missing.jsonl")
    assert (len(records), bad) == (15, Counter(missing_value=5))


def test_key_twice(cases_dir: Path) -> None:
    assert load(cases_dir / "key_twice.jsonl", "trl") == ([], Counter(json=20))
    with pytest.raises(DataError, match="key 'chosen' stands twice"):
        load(cases_dir / "key_twice.jsonl")


def test_prompt_column_and_system(cases_dir: Path) -> None:
    records, bad = load(cases_dir / "prompt_column_and_system.jsonl")
    assert (len(records), bad) == (20, Counter())
    assert texts(records[0])[0] == [{"role": "system", "content": "Be brief."}, *FRUIT]


@pytest.mark.parametrize(("name", "cause"), [("utf16", "is UTF-16, not UTF-8"), ("one_array", "is one JSON array")])
def test_the_cause_is_named_with_a_remedy_that_works(cases_dir: Path, tmp_path: Path, name: str, cause: str) -> None:
    path = Path(shutil.copy(cases_dir / f"{name}.jsonl", tmp_path))
    with pytest.raises(DataError, match=cause) as caught:
        load(path)
    command = str(caught.value).partition("in its folder: ")[2].replace("python ", f"{sys.executable} ", 1)
    subprocess.run(shlex.split(command), check=True, cwd=tmp_path)
    records, bad = load(tmp_path / f"{name}-mended.jsonl")
    assert (len(records), bad) == (20, Counter())


def test_folder_with_editor_copy(cases_dir: Path) -> None:
    records, bad = load(cases_dir / "folder_with_editor_copy")
    wrong = [record for record in records if record["provenance"]["source"] != "votes"]
    assert (len(records), bad, wrong) == (20, Counter(), [])


def test_when(cases_dir: Path) -> None:
    records, bad = load(cases_dir / "when.jsonl")
    assert (len(records), bad) == (10, Counter(not_iso_8601=10))


def test_capital_choices(cases_dir: Path) -> None:
    records, bad = load(cases_dir / "capital_choices.jsonl")
    assert (len(records), bad) == (20, Counter())
    assert [record["judgments"][0]["outcome"] for record in records[:3]] == ["b", "a", "b"]


def test_format_kto(cases_dir: Path) -> None:
    records, bad = load(cases_dir / "format_kto.jsonl")
    assert (len(records), bad) == (20, Counter())
    assert [record["judgments"][0]["value"] for record in records[:3]] == [False, True, False]


def test_format_sharegpt_pairs(cases_dir: Path) -> None:
    records, bad = load(cases_dir / "format_sharegpt_pairs.jsonl")
    assert (len(records), bad) == (20, Counter())
    assert texts(records[0]) == ([{"role": "system", "content": "Be brief."}, *FRUIT], "A pear.", "A chair.")


def test_format_tool_calls(cases_dir: Path) -> None:
    """Refused, and the message says by which column."""
    assert load(cases_dir / "format_tool_calls.jsonl") == ([], Counter(unknown_column=20))


def test_format_label_studio(cases_dir: Path) -> None:
    with pytest.raises(DataError, match=r"not recognised .got columns annotations, data, id, predictions"):
        load(cases_dir / "format_label_studio.jsonl")

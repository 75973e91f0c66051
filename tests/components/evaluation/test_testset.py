"""Which held-out data an evaluation uses, and whether they leak."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import ArtifactError
from components.evaluation.testset import Prompt, choose, read_test_set, word_ngrams
from components.records import write_records
from tests.components.evaluation.world import record, save_dataset

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


def _write(folder: Path, test: list[dict], train: list[dict]) -> Path:
    write_records(folder / "test.jsonl", test)
    write_records(folder / "train.jsonl", train)
    return folder


def test_ties_are_no_comparisons_but_their_prompts_are_answered(tmp_path: Path) -> None:
    test = read_test_set(save_dataset(tmp_path / "d", n_test=6), 0, 0)
    assert (test.available, len(test.prompts)) == (6, 6)
    assert len(test.comparisons) + test.ties == 6
    assert test.ties >= 1
    assert len(test.keys) == len(test.comparisons)


def test_a_prompt_with_several_records_is_answered_once(tmp_path: Path) -> None:
    rows = [record("Why?", "Because.", "No."), record("Why?", "So.", "Never.")]
    test = read_test_set(_write(tmp_path, rows, []), 0, 0)
    assert len(test.prompts) == 1
    assert len(test.comparisons) == 2


def test_the_choice_of_prompts_depends_on_seed_and_content_only() -> None:
    prompts = [Prompt(f"{i:064x}", (), "s") for i in range(50)]
    chosen = choose(prompts, 10, seed=0)
    assert choose(prompts[::-1], 10, seed=0) == chosen
    assert choose(prompts, 10, seed=1) != chosen
    assert choose(prompts, 20, seed=0)[:10] == chosen, "more prompts keep the ones of before"
    assert len(choose(prompts, 0, seed=0)) == 50


def test_a_prompt_of_train_is_found_in_test(tmp_path: Path) -> None:
    test = read_test_set(
        _write(tmp_path, [record("A?", "x", "y"), record("B?", "x", "y")], [record("A?", "p", "q")]), 0, 0
    )
    assert sorted(test.leaked) == [False, True]


def test_thirteen_words_in_a_row_overlap_and_twelve_do_not(tmp_path: Path) -> None:
    thirteen, twelve = " ".join(LONG.split()[:13]), " ".join(LONG.split()[:12])
    assert len(word_ngrams(LONG)) == 2
    rows = [record(f"Well: {thirteen.upper()}!", "x", "y"), record(f"Well: {twelve}.", "x", "y")]
    test = read_test_set(_write(tmp_path, rows, [record(LONG, "p", "q")]), 0, 0)
    assert test.overlapping == [True, False]
    assert test.leaked == [False, False]


def test_an_empty_test_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no prompt"):
        read_test_set(_write(tmp_path, [], [record("A?", "x", "y")]), 0, 0)

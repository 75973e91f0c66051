"""Which held-out data an evaluation uses, and whether they leak."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import ArtifactError
from components.evaluation.testset import read_test_set, word_ngrams
from components.measures.evidence import TestSet
from components.records import complete, prompt_key
from components.records.samples import Sample
from tests.components.evaluation.world import asked_of, record, save_dataset, write_dataset

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"


def _sample(prompt: str) -> Sample:
    messages = ({"role": "user", "content": prompt},)
    return Sample(prompt_key(messages), messages, 0, "x", (1,), (0.0,), "eos", 0, 1)


def _read(folder: Path) -> TestSet:
    return read_test_set(folder, [_sample(prompt) for prompt in asked_of(folder)]).test


def test_ties_are_no_comparisons_but_their_prompts_are_answered(tmp_path: Path) -> None:
    test = _read(save_dataset(tmp_path / "d", n_test=6))
    assert (test.available, len(test.prompts)) == (6, 6)
    assert len(test.decided.items) + test.ties == 6
    assert test.ties >= 1
    assert len(test.decided.keys) == len(test.decided.items)


def test_a_prompt_with_several_records_is_answered_once(tmp_path: Path) -> None:
    rows = [record("Why?", "Because.", "No."), record("Why?", "So.", "Never.")]
    test = _read(write_dataset(tmp_path, rows, []))
    assert len(test.prompts) == 1
    assert len(test.decided.items) == 2


def test_a_prompt_of_train_is_found_in_test(tmp_path: Path) -> None:
    test = _read(write_dataset(tmp_path, [record("A?", "x", "y"), record("B?", "x", "y")], [record("A?", "p", "q")]))
    assert sorted(test.leaked) == [False, True]


def test_thirteen_words_in_a_row_overlap_and_twelve_do_not(tmp_path: Path) -> None:
    thirteen, twelve = " ".join(LONG.split()[:13]), " ".join(LONG.split()[:12])
    assert len(word_ngrams(LONG)) == 2
    rows = [record(f"Well: {thirteen.upper()}!", "x", "y"), record(f"Well: {twelve}.", "x", "y")]
    test = _read(write_dataset(tmp_path, rows, [record(LONG, "p", "q")]))
    assert test.overlapping == [True, False]
    assert test.leaked == [False, False]


def test_an_empty_test_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no prompt"):
        _read(write_dataset(tmp_path, [], [record("A?", "x", "y")]))


def test_styles_and_domain_of_a_comparison_come_from_its_record(tmp_path: Path) -> None:
    """RM-Bench: who wrote a completion how stands in the candidate, the domain in the task; else the source counts."""
    styled = record("A?", "long", "short")
    styled["task"]["domain"] = "chat"
    for candidate, variant in zip(styled["candidates"], ("detailed", "concise"), strict=True):
        candidate["generator"]["prompt_variant"] = variant
    test = _read(write_dataset(tmp_path, [complete(styled), record("B?", "x", "y")], []))
    assert test.decided.styles == [("detailed", "concise"), ("", "")]
    assert test.decided.domains == ["chat", "world"]

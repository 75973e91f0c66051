"""The error tree: exit codes decide about retries, and the drawing in the module is the tree."""

from __future__ import annotations

import re

import pytest

from components import errors
from components.errors import PreflowError, RecordError, nearest


def _tree(cls: type[PreflowError]) -> set[type[PreflowError]]:
    return {cls}.union(*(_tree(child) for child in cls.__subclasses__() if child.__module__ == errors.__name__))


@pytest.mark.parametrize("cls", sorted(_tree(PreflowError), key=lambda c: c.__name__))
def test_the_drawing_names_every_error_under_its_parent(cls: type[PreflowError]) -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if re.search(rf"\b{cls.__name__}\b", line)]
    assert len(lines) == 1
    code = re.search(r"Error +(\d)", lines[0])
    assert code is None or int(code[1]) == cls.exit_code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SpecError", 2),
        ("ParamsError", 2),
        ("WiringError", 2),
        ("GateError", 2),
        ("RecordError", 3),
        ("ArtifactError", 3),
        ("JudgeError", 1),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    """2 and 3 are never retried; a judge that is down is."""
    assert getattr(errors, name).exit_code == code


def test_a_record_error_says_where() -> None:
    error = RecordError("bad", rule="unique_ids", field="candidates[0].id", file="f.jsonl", line=3)
    assert (str(error), error.rule, error.field, error.file, error.line) == (
        "bad",
        "unique_ids",
        "candidates[0].id",
        "f.jsonl",
        3,
    )


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("betta", ["beta", "gamma"], " Did you mean 'beta'?"),
        ("zzz", ["beta", "alpha"], " Known: alpha, beta."),
        ("zzz", [], ""),
    ],
)
def test_nearest(name: str, known: list[str], hint: str) -> None:
    assert nearest(name, known) == hint

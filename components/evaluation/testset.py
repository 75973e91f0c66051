"""Held-out data: which prompts are answered, which comparisons are scored, and whether they leak from train."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.errors import ArtifactError
from components.evaluation.text_statistics import ngrams
from components.records import Comparison, comparisons, messages, prompt_key, read_records

NGRAM = 13
"""Words in a row that make two prompts overlap (EVAL-01)."""


@dataclass(frozen=True)
class Prompt:
    """One held-out prompt. `source` is the source of its first record."""

    key: str
    messages: tuple[dict[str, str], ...]
    source: str

    @property
    def text(self) -> str:
        """The messages as one text."""
        return "\n".join(message["content"] for message in self.messages)


@dataclass(frozen=True)
class TestSet:
    """`prompts` are answered by every system; `comparisons` (no ties) are what reward models are scored on."""

    __test__ = False  # not a test class, whatever its name

    prompts: list[Prompt]
    available: int
    comparisons: list[Comparison]
    keys: list[str]
    """the prompt key of every comparison"""
    ties: int
    dropped: dict[str, int]
    train: list[Comparison]
    leaked: list[bool]
    """per available test prompt: the same prompt stands in train"""
    overlapping: list[bool]
    """per available test prompt: it shares 13 words in a row with a train prompt"""

    @property
    def hash(self) -> str:
        """sha256 of the keys of the answered prompts, whatever their order."""
        return hashlib.sha256("\n".join(sorted(prompt.key for prompt in self.prompts)).encode()).hexdigest()


def choose(prompts: Sequence[Prompt], n: int, seed: int) -> list[Prompt]:
    """`n` prompts (all if 0) by the order of sha256(seed + newline + key): the order of the file does not matter."""

    def rank(prompt: Prompt) -> str:
        return hashlib.sha256(f"{seed}\n{prompt.key}".encode()).hexdigest()

    ordered = sorted(prompts, key=rank)
    return ordered[:n] if n else ordered


def word_ngrams(text: str, n: int = NGRAM) -> set[tuple[str, ...]]:
    return set(ngrams(re.findall(r"\w+", text.lower()), n))  # type: ignore[arg-type]


def _prompts(path: Path) -> dict[str, Prompt]:
    found: dict[str, Prompt] = {}
    for record in read_records(path):
        key = prompt_key(record)
        if key not in found:
            found[key] = Prompt(key, tuple(messages(record)), record["provenance"]["source"])
    return found


def _overlap(tests: Iterable[Prompt], train: Iterable[Prompt]) -> list[bool]:
    seen: set[tuple[str, ...]] = set()
    for prompt in train:
        seen |= word_ngrams(prompt.text)
    return [not seen.isdisjoint(word_ngrams(prompt.text)) for prompt in tests]


def read_test_set(folder: Path, n_prompts: int, seed: int) -> TestSet:
    """Read a dataset artifact. Raises ArtifactError if its test split is empty."""
    tests, train = _prompts(folder / "test.jsonl"), _prompts(folder / "train.jsonl")
    if not tests:
        raise ArtifactError(f"{folder}/test.jsonl: holds no prompt (got 0). Raise feedback_curation's share of test.")
    held_out = comparisons(read_records(folder / "test.jsonl"))
    decided = [item for item in held_out.items if not item.tie]
    return TestSet(
        prompts=choose(list(tests.values()), n_prompts, seed),
        available=len(tests),
        comparisons=decided,
        keys=[prompt_key(item.messages) for item in decided],
        ties=len(held_out.items) - len(decided),
        dropped=dict(held_out.dropped),
        train=[item for item in comparisons(read_records(folder / "train.jsonl")).items if not item.tie],
        leaked=[key in train for key in tests],
        overlapping=_overlap(tests.values(), train.values()),
    )

"""Held-out data: the prompts that were answered, the comparisons that are scored, and whether they leak from train."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.errors import ArtifactError, RecordError, WiringError
from components.measures.behaviour import ngrams
from components.measures.evidence import Decided, Prompt, TestSet
from components.records import Comparison, Record, comparisons, messages, normal_key, prompt_key, read_records
from components.records.samples import Sample

NGRAM = 13
"""Words in a row that make two prompts overlap (EVAL-01)."""
SPLIT = "test"


@dataclass(frozen=True)
class HeldOut:
    """The test set, and the place of each decided comparison among all (a tie has a place too)."""

    test: TestSet
    items: list[Comparison]
    places: list[int]


def word_ngrams(text: str, n: int = NGRAM) -> set[tuple[object, ...]]:
    return set(ngrams(re.findall(r"\w+", text.lower()), n))


def _prompts(records: Iterable[Record]) -> dict[str, Prompt]:
    """Every text prompt once; one with media cannot be answered here."""
    found: dict[str, Prompt] = {}
    for record in records:
        key = prompt_key(record)
        if key not in found:
            try:
                found[key] = Prompt(key, tuple(messages(record)), record["provenance"]["source"])
            except RecordError as error:
                if error.rule != "text_only":
                    raise
    return found


def _leaked(tests: Iterable[Prompt], train: Iterable[Prompt]) -> list[bool]:
    """In their normal forms, as the splits are made."""
    learned = {normal_key(prompt.messages) for prompt in train}
    return [normal_key(prompt.messages) in learned for prompt in tests]


def _overlap(tests: Iterable[Prompt], train: Iterable[Prompt]) -> list[bool]:
    seen: set[tuple[object, ...]] = set()
    for prompt in train:
        seen |= word_ngrams(prompt.text)
    return [not seen.isdisjoint(word_ngrams(prompt.text)) for prompt in tests]


def _variants(records: Iterable[Record]) -> dict[tuple[str, str], str]:
    """(record id, completion) -> the prompt variant that wrote it, where the record says one."""
    found: dict[tuple[str, str], str] = {}
    for record in records:
        for candidate in record["candidates"]:
            variant = candidate["generator"].get("prompt_variant", "")
            text = "".join(part.get("text", "") for part in candidate["parts"])
            if variant:
                found.setdefault((record["record_id"], text), variant)
    return found


def _decided(items: Sequence[Comparison], records: Sequence[Record]) -> Decided:
    variants = _variants(records)
    domains = {record["record_id"]: record["task"].get("domain", "") for record in records}
    return Decided(
        items=items,
        keys=[prompt_key(item.messages) for item in items],
        styles=[
            (variants.get((item.record_id, item.chosen), ""), variants.get((item.record_id, item.rejected), ""))
            for item in items
        ],
        domains=[domains[item.record_id] or item.source for item in items],
    )


def read_test_set(folder: Path, answered: Sequence[Sample]) -> HeldOut:
    """Read a dataset artifact. `answered`: one answer to each prompt, in order.

    Raises ArtifactError if the test split is empty, WiringError if a prompt is not in it.
    """
    records, learned = list(read_records(folder / f"{SPLIT}.jsonl")), list(read_records(folder / "train.jsonl"))
    tests, train = _prompts(records), _prompts(learned)
    if not tests:
        raise ArtifactError(f"{folder}/test.jsonl: holds no prompt (got 0). Raise feedback_curation's share of test.")
    held_out = comparisons(records)
    places = [place for place, item in enumerate(held_out.items) if not item.tie]
    test = TestSet(
        prompts=list(_answered(answered, tests, folder)),
        available=len(tests),
        decided=_decided([held_out.items[place] for place in places], records),
        ties=len(held_out.items) - len(places),
        dropped=dict(held_out.dropped),
        train=[item for item in comparisons(learned).items if not item.tie],
        leaked=_leaked(tests.values(), train.values()),
        overlapping=_overlap(tests.values(), train.values()),
    )
    return HeldOut(test, held_out.items, places)


def _answered(answered: Sequence[Sample], tests: dict[str, Prompt], folder: Path) -> Iterator[Prompt]:
    for sample in answered:
        if sample.prompt_key not in tests:
            raise WiringError(
                f"evaluation --in candidate: a prompt of the answers is not in {folder}/test.jsonl (got "
                f"{sample.prompt_key[:12]}). Sample the answers from the test split of this data set."
            )
        yield tests[sample.prompt_key]

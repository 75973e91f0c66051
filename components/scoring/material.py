"""What is to be scored: answers, pairs of answers, comparisons. Torch-free."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.contract import Input, Inputs
from components.errors import ArtifactError, WiringError
from components.preference_models import Text, TextPair
from components.records import Comparison, comparisons, read_records
from components.records.samples import Sample, read_samples


@dataclass(frozen=True)
class Answers:
    """One samples artifact, and the temperature and top_p it was drawn with."""

    id: str
    samples: list[Sample]
    temperature: float
    top_p: float

    def first(self) -> dict[str, Sample]:
        """Sample 0 of every prompt, by prompt key."""
        return {sample.prompt_key: sample for sample in self.samples if sample.sample == 0}


@dataclass(frozen=True)
class AnswerPair:
    """The first answers of two artifacts to one prompt."""

    a_id: str
    b_id: str
    a: Sample
    b: Sample

    @property
    def texts(self) -> TextPair:
        return TextPair(self.a.messages, self.a.completion, self.b.completion)


@dataclass(frozen=True)
class Material:
    """Everything to be scored; an artifact that is given twice is there once."""

    samples: list[Answers]
    against: list[Answers]
    comparisons: list[Comparison]
    dropped: Counter[str] = field(default_factory=Counter)

    def pairs(self) -> Iterator[AnswerPair]:
        """Prompt by prompt, every artifact of `samples` beside every one of `against`."""
        for one in self.samples:
            for other in self.against:
                opposite = other.first()
                for key, sample in one.first().items():
                    if key in opposite:
                        yield AnswerPair(one.id, other.id, sample, opposite[key])

    def without_partner(self) -> int:
        """Prompts that only one of two compared artifacts answers, summed over the pairs of artifacts."""
        return sum(len(one.first().keys() ^ other.first().keys()) for one in self.samples for other in self.against)

    def texts(self) -> list[Text]:
        """Every text that a model is asked about."""
        found = [Text(s.messages, s.completion) for answers in (*self.samples, *self.against) for s in answers.samples]
        return found + [Text(item.messages, text) for item in self.comparisons for text in (item.chosen, item.rejected)]


def read_material(inputs: Inputs, split: str) -> Material:
    """Raises WiringError if there is nothing to score, or if a policy is asked to compare."""
    dataset = inputs.get("dataset")
    if dataset is None and "samples" not in inputs:
        raise WiringError("scoring: there is nothing to score (got neither samples nor a dataset). Pass one of them.")
    if "against" in inputs and ("policy" in inputs or "samples" not in inputs):
        raise WiringError("scoring --in against: a preference model compares samples with it. Pass both, or neither.")
    found = comparisons(read_records(dataset.path / f"{split}.jsonl")) if dataset else None
    return Material(
        samples=_answers(inputs.many("samples")),
        against=_answers(inputs.many("against")),
        comparisons=found.items if found else [],
        dropped=found.dropped if found else Counter(),
    )


def _answers(items: list[Input]) -> list[Answers]:
    different = {item.id: item for item in items}
    return [Answers(oid, read_samples(item.path), *_sampler(item.path)) for oid, item in different.items()]


def _sampler(folder: Path) -> tuple[float, float]:
    try:
        sampler: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["sampler"]
        return float(sampler["temperature"]), float(sampler["top_p"])
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{folder}/summary.json: does not say how it was sampled ({type(error).__name__}: {error}). "
            "Rerun response_sampling."
        ) from error

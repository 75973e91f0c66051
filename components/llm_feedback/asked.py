"""What was put to the judge and what came back, in the same form for pairs and for single completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.judges import Reply
from components.records.samples import Candidates, Sample, SamplePair


@dataclass(frozen=True)
class Case:
    """What one record is about. `answer`: what a source may need of it, by name; `replies`: all that was said."""

    of: SamplePair | Sample
    candidates: Candidates
    item: Any
    answer: Mapping[str, Any]
    replies: Sequence[Reply[Any]]


@dataclass(frozen=True)
class Asked:
    """The cases that were asked about, what was not worth a question, and what is counted.

    `metrics` are those of the step, `stats` those of the judge alone; `verdicts` are the rows of verdicts.jsonl.
    """

    cases: list[Case]
    quarantine: list[dict[str, Any]]
    metrics: dict[str, Any]
    stats: dict[str, Any]
    verdicts: list[dict[str, Any]] = field(default_factory=list)

    @property
    def served_models(self) -> list[str]:
        """The models that answered, as the endpoint names them."""
        return sorted({reply.served_model for case in self.cases for reply in case.replies} - {""})

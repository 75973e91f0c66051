"""What measures read: answers, what witnesses said of them, log-probabilities, held-out comparisons."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.judges import PairResult
from components.measures.table import Place
from components.records import Comparison
from components.records.samples import Sample
from components.statistics import Bootstrap

Values = Sequence[float | None]
"""Per prompt: 1 if the candidate wins, 0 if it loses, 0.5 for a tie (or a probability), None without a verdict."""


class NotMeasured(Exception):
    """Why a metric has no value. It is listed under its name with this reason, and is never a 0."""


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
class Decided:
    """The decided comparisons of a split. `keys`: the prompt of each, by which intervals are clustered.

    `styles`: the prompt variants that wrote the chosen and the rejected completion; `domains`: the task's domain (its
    source if it names none).
    """

    items: Sequence[Comparison]
    keys: Sequence[str]
    styles: Sequence[tuple[str, str]] = ()
    domains: Sequence[str] = ()


@dataclass(frozen=True)
class TestSet:
    """`prompts` are those that every system answered; comparisons are what witnesses are tested on."""

    __test__ = False  # not a test class, whatever its name

    prompts: Sequence[Prompt]
    available: int
    decided: Decided
    ties: int
    dropped: Mapping[str, int]
    train: Sequence[Comparison]
    leaked: Sequence[bool]
    """per available test prompt: the same prompt stands in train"""
    overlapping: Sequence[bool]
    """per available test prompt: it shares 13 words in a row with a train prompt"""

    @property
    def hash(self) -> str:
        """sha256 of the keys of the answered prompts, whatever their order."""
        return hashlib.sha256("\n".join(sorted(prompt.key for prompt in self.prompts)).encode()).hexdigest()


@dataclass(frozen=True)
class Answers:
    """The first answer of one system to every prompt, in the order of the prompts.

    `id`: the samples' content id; `policy`: the policy's; `vocabulary`: a hash of its tokens, "" where nobody says it.
    """

    name: str
    id: str
    policy: str
    vocabulary: str
    sampler: Mapping[str, Any]
    samples: Sequence[Sample]

    @property
    def texts(self) -> list[str]:
        return [sample.completion for sample in self.samples]

    @property
    def lengths(self) -> list[int]:
        """Tokens per answer, EOS included if it was generated."""
        return [len(sample.token_ids) for sample in self.samples]


@dataclass(frozen=True)
class Likelihood:
    """Summed log-probabilities of both sides of the comparisons [M] under one policy, and their tokens.

    `unclean`: comparisons with a completion whose tokens do not simply continue the prompt's.
    """

    chosen: Sequence[float]
    rejected: Sequence[float]
    chosen_tokens: Sequence[int]
    rejected_tokens: Sequence[int]
    unclean: int = 0


@dataclass(frozen=True)
class Ranked:
    """What a witness says of the comparisons [M]: `margins` are its log-odds that the chosen side is preferred."""

    margins: Sequence[float]

    @property
    def strict(self) -> list[float]:
        """1 where the chosen side is clearly preferred, else 0."""
        return [float(margin > 0) for margin in self.margins]


@dataclass(frozen=True)
class Testimony:
    """What one witness said. `gives`: what it can be asked for; `missing`: why it said nothing at all."""

    __test__ = False

    name: str
    label: str
    gives: tuple[str, ...]
    wins: Mapping[str, Values] = field(default_factory=dict)
    """by opponent"""
    scores: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """of every answer, by system"""
    ranked: Ranked | None = None
    judged: Mapping[str, Sequence[PairResult]] = field(default_factory=dict)
    """both orders, by opponent"""
    missing: str = ""
    warnings: Sequence[str] = ()
    """what a reader must know of it, as sentences"""


@dataclass(frozen=True)
class Evidence:
    """Everything that was given to an evaluation, prompt by prompt. Systems: candidate, reference(, champion)."""

    test: TestSet
    systems: Mapping[str, Answers]
    witnesses: Sequence[Testimony] = ()
    likelihoods: Mapping[str, Likelihood] = field(default_factory=dict)
    """by system"""
    log_ratios: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    """by system: of each answer's tokens, log-probability minus the reference's"""
    no_log_ratios: Mapping[str, str] = field(default_factory=dict)
    """by system: why there are none"""
    bootstrap: Bootstrap = field(default_factory=Bootstrap)

    @property
    def present(self) -> list[Testimony]:
        """The witnesses that said something."""
        return [witness for witness in self.witnesses if not witness.missing]

    @property
    def opponents(self) -> list[str]:
        return [name for name in self.systems if name != "candidate"]

    def witness(self, name: str) -> Testimony:
        """One witness. Raises NotMeasured if it said nothing."""
        found = next(witness for witness in self.witnesses if witness.name == name)
        if found.missing:
            raise NotMeasured(found.missing)
        return found


def _decided(evidence: Evidence, place: Place) -> Decided:
    if not evidence.test.decided.items:
        raise NotMeasured("the test split holds no decided comparison")
    return evidence.test.decided


def _train(evidence: Evidence, place: Place) -> Sequence[Comparison]:
    if not evidence.test.train:
        raise NotMeasured("the train split holds no decided comparison")
    return evidence.test.train


def _likelihood(evidence: Evidence, system: str) -> Likelihood:
    if system not in evidence.likelihoods:
        raise NotMeasured(f"no log-probabilities of the comparisons under the {system} were given")
    return evidence.likelihoods[system]


def _log_ratios(evidence: Evidence, place: Place) -> Sequence[Sequence[float]]:
    if place.system not in evidence.log_ratios:
        raise NotMeasured(evidence.no_log_ratios.get(place.system, "no log-probabilities of the reference were given"))
    return evidence.log_ratios[place.system]


def _wins(evidence: Evidence, place: Place) -> Values:
    wins = evidence.witness(place.witness).wins
    if place.opponent not in wins:
        raise NotMeasured(f"the {place.label} did not compare the candidate with the {place.opponent}")
    return wins[place.opponent]


def _scores(evidence: Evidence, place: Place) -> Mapping[str, Sequence[float]]:
    scores = evidence.witness(place.witness).scores
    lacking = [name for name in evidence.systems if name not in scores]
    if lacking:
        raise NotMeasured(f"the {place.label} gives no scores of the {lacking[0]}'s answers")
    return scores


def _side_scores(evidence: Evidence, place: Place) -> tuple[Sequence[float], Sequence[float]]:
    scores = evidence.witness(place.witness).scores
    for name in ("candidate", place.opponent):
        if name not in scores:
            raise NotMeasured(f"the {place.label} gives no scores of the {name}'s answers")
    return scores["candidate"], scores[place.opponent]


def _ranked(evidence: Evidence, place: Place) -> Ranked:
    _decided(evidence, place)
    ranked = evidence.witness(place.witness).ranked
    if ranked is None:
        raise NotMeasured(f"the {place.label} was not asked about the comparisons")
    return ranked


PROVIDERS: dict[str, Callable[[Evidence, Place], Any]] = {
    "test": lambda evidence, place: evidence.test,
    "comparisons": _decided,
    "train": _train,
    "answers": lambda evidence, place: evidence.systems[place.system],
    "reference": lambda evidence, place: evidence.systems["reference"],
    "likelihood": lambda evidence, place: _likelihood(evidence, place.system),
    "reference_likelihood": lambda evidence, place: _likelihood(evidence, "reference"),
    "log_ratios": _log_ratios,
    "wins": _wins,
    "sides": lambda evidence, place: (evidence.systems["candidate"], evidence.systems[place.opponent]),
    "side_scores": _side_scores,
    "scores": _scores,
    "systems": lambda evidence, place: evidence.systems,
    "ranked": _ranked,
    "judged": lambda evidence, place: evidence.witness(place.witness).judged,
    "bootstrap": lambda evidence, place: evidence.bootstrap,
}
"""How each need of `table.NEEDS` is met at a place. Raises NotMeasured."""

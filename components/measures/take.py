"""Take the chosen measures of the evidence at every place they fit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from components.contract.params import Choice
from components.contract.table import Row
from components.measures.evidence import PROVIDERS, Evidence, NotMeasured
from components.measures.table import MEASURES, OF_REFERENCE, OF_WITNESS, Place, fields
from components.statistics import Estimate


@dataclass(frozen=True)
class Taken:
    """Which measure a metric is, and where it was taken."""

    row: Row
    place: Place


@dataclass
class Results:
    """What came out, and what could not, with the reason. A missing metric is never a 0."""

    metrics: dict[str, Estimate] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    taken: dict[str, Taken] = field(default_factory=dict)
    """where every metric comes from, in the order of the table and its places; the missing ones too"""

    def at(self, measure: str, **where: str) -> Iterator[tuple[str, Taken]]:
        """The metrics of one measure, of all places or of those that are named (system=, witness=, opponent=)."""
        for name, taken in self.taken.items():
            if taken.row.name == measure and all(getattr(taken.place, key) == value for key, value in where.items()):
                yield name, taken

    def value(self, measure: str, **where: str) -> Estimate | None:
        """The first number of one measure at these places, if there is one."""
        return next((self.metrics[name] for name, _ in self.at(measure, **where) if name in self.metrics), None)


def take(evidence: Evidence, choices: Sequence[Choice]) -> Results:
    """Every chosen measure: a number, or why there is none."""
    results = Results()
    for choice in choices:
        row, function = MEASURES[choice.name], MEASURES.bind(choice)
        for place in places(row, evidence):
            name = place.metric(row)
            results.taken[name] = Taken(row, place)
            try:
                results.metrics[name] = function(*(PROVIDERS[need](evidence, place) for need in row.needs))
            except NotMeasured as reason:
                results.missing[name] = str(reason)
    return results


def places(row: Row, evidence: Evidence) -> Iterator[Place]:
    """Where a measure fits: what its metric is named by, witnesses that can give what it needs."""
    over, needs = fields(row), set(row.needs)
    if "system" in over:
        yield from (
            Place(system=name) for name in evidence.systems if not (name == "reference" and needs & OF_REFERENCE)
        )
    elif "witness" in over:
        for witness in evidence.witnesses:
            if needs & OF_WITNESS <= set(witness.gives):
                opponents = evidence.opponents if "opponent" in over else [""]
                yield from (
                    Place(witness=witness.name, opponent=opponent, label=witness.label) for opponent in opponents
                )
    else:
        yield Place()

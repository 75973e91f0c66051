"""The table of measures, the names of what they can ask for, and how metrics are named. Torch-free.

The name of a metric is a pattern: `win_rate.{witness}.vs_{opponent}` is taken of every witness and opponent,
`length.mean.{system}` of every system. The candidate's name is left out: `length.mean`, `length.mean.reference`.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass

from components.contract.params import Choice
from components.contract.table import Row, Table

MEASURES = Table(
    "measures",
    "measure",
    "components.measures",
    "What an evaluation measures: a pure function of answers, scores, verdicts or log-probabilities, one number with "
    "its interval per place. The report, its headlines and the gate read name, label and place from the row.",
    facts=("metric", "label", "format", "section"),
    appendix="components.measures.table:markdown",
)

NEEDS: dict[str, str] = {
    "test": "the held-out prompts, and whether they leak from the train split",
    "comparisons": "the decided held-out comparisons [M] with their prompt keys",
    "train": "the decided comparisons of the train split",
    "answers": "the answers [P] of the system, one per prompt",
    "reference": "the answers [P] of the reference; such a measure is not taken of the reference itself",
    "likelihood": "log-probabilities of both sides of the comparisons [M] under the system",
    "reference_likelihood": "the same under the reference",
    "log_ratios": "of the system's answers [P], log-probability minus the reference's, token by token [T_p]",
    "wins": "P(candidate preferred to the opponent) by the witness [P]; None where it gave no verdict",
    "sides": "the candidate's and the opponent's answers [P]",
    "side_scores": "the witness's scores of the candidate's and of the opponent's answers [P]",
    "scores": "the witness's scores of every system's answers, by system [P]",
    "systems": "every system's answers, by name [P]",
    "ranked": "what the witness says of the comparisons [M]: scores, or P(chosen preferred)",
    "judged": "the witness's verdicts in both orders, by opponent [P]",
    "bootstrap": "how intervals are drawn",
}
"""What a measure can ask for: the arguments of its function, by name. P prompts, M comparisons."""

OF_WITNESS = frozenset({"wins", "side_scores", "scores", "ranked", "judged"})
OF_REFERENCE = frozenset({"reference", "reference_likelihood", "log_ratios"})

SECTIONS = ("wins", "scorers", "behaviour", "judge", "")
"""Tables of the page; "" stands under "all metrics" only."""

BASE = {"reference": "base"}
"""What the closing table of a run calls an opponent."""


@dataclass(frozen=True)
class Place:
    """Where a measure is taken. `label`: what a reader calls the witness."""

    system: str = ""
    witness: str = ""
    opponent: str = ""
    label: str = ""

    def metric(self, row: Row) -> str:
        """The name of the row's metric here."""
        pattern = str(row.facts["metric"])
        name = pattern.format(system=self.system, witness=self.witness, opponent=self.opponent)
        return name.removesuffix(".candidate")

    def words(self, text: str) -> str:
        """A text of the row (a label, a warning) for a reader."""
        return _fill(text, system=self.system, witness=self.label, opponent=self.opponent)


def headline(row: Row, place: Place) -> str:
    """What the closing table of a run calls this metric, or nothing if it does not stand there."""
    if "headline" not in row.facts or place.system not in ("", "candidate"):
        return ""
    text = str(row.facts["headline"][1])
    return _fill(text, witness=place.label, opponent=BASE.get(place.opponent, place.opponent))


def _fill(text: str, **words: str) -> str:
    return text.format_map({"value": "{value}"} | words)


def fields(row: Row) -> set[str]:
    """The placeholders in the name of a row's metric: over what it is taken."""
    return {name for _, name, _, _ in string.Formatter().parse(str(row.facts["metric"])) if name}


def row_of(metric: str) -> Row | None:
    """The row that a metric of a report comes from; None for one that no measure gives.

    Of several patterns that fit, the one that says most: `ranking.accuracy` is not the accuracy of a witness.
    """
    fitting = [row for row in MEASURES if re.fullmatch(_pattern(row), metric)]
    return max(fitting, key=lambda row: len(re.sub(r"\{\w+\}", "", str(row.facts["metric"]))), default=None)


def _pattern(row: Row) -> str:
    pattern = re.escape(str(row.facts["metric"])).replace(r"\.\{system\}", r"(\.[a-z_]+)?")
    return re.sub(r"\\\{\w+\\\}", "[a-z0-9_]+", pattern)


def everything() -> tuple[Choice, ...]:
    """Every row with its defaults, in the order of the table: what an evaluation measures unless told otherwise."""
    return tuple(
        Choice(row.name, {name: knob.default for name, knob in row.knobs.items()}, row.revision) for row in MEASURES
    )


def markdown() -> list[str]:
    """What a measure can ask for, for the page of the table."""
    lines = ["## What a measure can ask for", "", "P prompts, M comparisons.", "", "| need | what it is |", "|---|---|"]
    return [*lines, *(f"| `{name}` | {what} |" for name, what in NEEDS.items())]

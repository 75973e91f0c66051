"""The report as one self-contained HTML page. The same evaluation gives the same bytes: no clock, host or path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from components.evaluation import tables
from components.evaluation.answers import SYSTEMS
from components.evaluation.figures import figures
from components.evaluation.findings import BETTER, NONE, UNCLEAR, WORSE, findings, verdict
from components.evaluation.words import number, percent, write
from components.measures.evidence import Evidence
from components.measures.take import Results
from components.statistics.calibration import ece_floor

SENTENCES = {
    BETTER: "better than the {}",
    WORSE: "worse than the {}",
    UNCLEAR: "no clear difference to the {}",
    NONE: "no verdict on the {}",
}


@dataclass(frozen=True)
class Page:
    """What the page is made of, beside the evidence and the results."""

    identity: str
    provenance: Sequence[dict[str, Any]]
    params: str
    training_log: Sequence[dict[str, Any]]
    slices: Sequence[dict[str, Any]]
    sample: Sequence[dict[str, Any]]
    selected: Sequence[dict[str, Any]]
    rule: str


def render(evidence: Evidence, results: Results, page: Page) -> str:
    """The HTML text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number, written=write)
    return environment.get_template("report.html.j2").render(
        page=page,
        systems=list(evidence.systems.values()),
        labels={witness.name: witness.label for witness in evidence.present},
        metrics=results.metrics,
        missing=results.missing,
        contests=tables.contest_cards(evidence, results),
        columns=tables.win_columns(results),
        cards=tables.fact_cards(results),
        scorers=tables.scorer_cells(results),
        behaviour=tables.behaviour_rows(results),
        judges=tables.judge_tables(evidence, results),
        findings=findings(evidence, results),
        plots=figures(evidence, results, page.training_log),
        n_prompts=len(evidence.test.prompts),
        test=evidence.test,
        names=[name for name in SYSTEMS if name in evidence.systems],
        headline=headline(evidence, results),
        calibration=results.value("calibration_error"),
        ece_floor=ece_floor(max(1, len(evidence.test.decided.items))),
    )


def headline(evidence: Evidence, results: Results) -> str:
    """One sentence: what the witnesses say about the candidate, opponent by opponent."""
    parts = []
    for opponent in evidence.opponents:
        said: dict[str, list[str]] = {}
        for witness in (w for w in evidence.present if opponent in w.wins):
            row = results.value("win_rate", witness=witness.name, opponent=opponent)
            said.setdefault(verdict(row), []).append(witness.label)
        if len(said) == 1:
            parts.append(SENTENCES[next(iter(said))].format(opponent))
        elif said:
            ordered = [(what, said[what]) for what in SENTENCES if what in said]
            first = f"{SENTENCES[ordered[0][0]].format(opponent)} ({', '.join(ordered[0][1])})"
            parts.append(", ".join([first, *(f"{what} ({', '.join(who)})" for what, who in ordered[1:])]))
    text = "; ".join(parts) or "no scorer compared the candidate with anything"
    return f"{text[0].upper()}{text[1:]}."

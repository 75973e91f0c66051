"""Which plots the page shows, and of what data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from components.evaluation import plots
from components.evaluation.examples import contests, scoring
from components.measures.evidence import Evidence
from components.measures.take import Results
from components.statistics import Estimate
from components.statistics.calibration import reliability

CURVES = ("loss", "rewards/accuracies", "rewards/margins", "kl", "mean_token_accuracy", "accuracy")
"""Metrics of a training log that are drawn, the first four that are there."""


def figures(evidence: Evidence, results: Results, log: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Every plot by name; empty where there are no data for it."""
    lengths = {name: answers.lengths for name, answers in evidence.systems.items()}
    drawn: dict[str, str | list[str]] = {
        "win_rates": _forest(evidence, results),
        "accuracy": _accuracy(results),
        "rewards": _scores(evidence),
        "reliability": _reliability(evidence),
        "lengths": plots.histogram("lengths", "Answer lengths", "tokens per answer", lengths),
        "kl": _log_ratios(evidence),
        "curves": _curves(log),
    }
    return {
        name: [Markup(svg) for svg in drawing] if isinstance(drawing, list) else Markup(drawing)
        for name, drawing in drawn.items()
    }


def _forest(evidence: Evidence, results: Results) -> str:
    rows: list[tuple[str, Estimate]] = []
    for opponent, witness in contests(evidence):
        row = results.value("win_rate", witness=witness.name, opponent=opponent)
        if row is not None:
            rows.append((f"{witness.label}\nvs {opponent}", row))
    return plots.forest(rows) if rows else ""


def _accuracy(results: Results) -> str:
    """Bars of all who rank the comparisons: those under evaluation coloured, baselines and the reference grey."""
    rows = []
    for metric, taken in results.taken.items():
        if "bar" in taken.row.facts and metric in results.metrics:
            own = "baseline" not in taken.row.facts and taken.place.system != "reference"
            rows.append((taken.place.words(taken.row.facts["bar"]), results.metrics[metric], own))
    rows.sort(key=lambda row: not row[2])
    return plots.accuracy(rows) if rows else ""


def _scores(evidence: Evidence) -> str:
    witness = scoring(evidence)
    if witness is None:
        return ""
    data = {name: witness.scores[name] for name in evidence.systems if name in witness.scores}
    return plots.histogram("rewards", "Rewards of the answers", "reward", data)


def _reliability(evidence: Evidence) -> str:
    ranked = next((w.ranked for w in evidence.present if w.ranked is not None), None)
    if ranked is None or not ranked.margins:
        return ""
    return plots.reliability_diagram(reliability(ranked.margins, [1.0] * len(ranked.margins)))


def _log_ratios(evidence: Evidence) -> str:
    ratios = {name: [sum(row) for row in rows] for name, rows in evidence.log_ratios.items()}
    if not ratios:
        return ""
    label = "log-probability minus the reference's, nats per answer"
    return plots.histogram("kl", "Log ratios of the answers", label, ratios, zero_line=True)


def _curves(log: Sequence[dict[str, Any]]) -> list[str]:
    drawn: list[str] = []
    for metric in CURVES:
        points = [(row["step"], row[metric]) for row in log if metric in row and "step" in row]
        if len(points) > 1:
            steps, values = zip(*points, strict=True)
            drawn.append(plots.curve(f"curve{len(drawn)}", metric, steps, values))
    return drawn[:4]

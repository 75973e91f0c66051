"""The tables and cards of the page, read from the rows of the measures: nothing here knows a metric by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.evaluation.examples import contests
from components.evaluation.findings import verdict
from components.evaluation.words import write
from components.measures.evidence import Evidence, Testimony
from components.measures.table import SECTIONS, headline
from components.measures.take import Results, Taken
from components.measures.wins import tally


def section(results: Results, name: str) -> Iterator[tuple[str, Taken]]:
    """The metrics of one table of the page, in the order of the measures."""
    assert name in SECTIONS
    return ((metric, taken) for metric, taken in results.taken.items() if taken.row.facts["section"] == name)


def headlines(results: Results) -> list[dict[str, str]]:
    """Metric and label of each line of the closing table of a run, in its order; only what has a value."""
    lines = [
        (taken.row.facts["headline"][0], {"metric": metric, "label": text})
        for metric, taken in results.taken.items()
        if metric in results.metrics and (text := headline(taken.row, taken.place))
    ]
    return [line for _, line in sorted(lines, key=lambda line: line[0])]


def cell(results: Results, metric: str, taken: Taken) -> dict[str, Any]:
    """One number for the page: its estimate, how to write it, and why it is missing if it is."""
    return {
        "metric": metric,
        "label": taken.place.words(taken.row.facts["label"]),
        "format": taken.row.facts["format"],
        "note": taken.row.facts.get("note", ""),
        "estimate": results.metrics.get(metric),
        "missing": results.missing.get(metric, ""),
    }


def scorer_cells(results: Results) -> list[dict[str, Any]]:
    """The table of what witnesses and baselines know: those that have a value."""
    return [cell(results, metric, taken) for metric, taken in section(results, "scorers") if metric in results.metrics]


def behaviour_rows(results: Results) -> list[dict[str, Any]]:
    """One row per measure, a cell per system."""
    rows: dict[str, dict[str, Any]] = {}
    for metric, taken in section(results, "behaviour"):
        found = cell(results, metric, taken)
        row = rows.setdefault(taken.row.name, {"label": found["label"], "format": found["format"], "cells": {}})
        row["cells"][taken.place.system] = found
    return list(rows.values())


def judge_tables(evidence: Evidence, results: Results) -> list[dict[str, Any]]:
    """The health of every witness that was asked in both orders."""
    return [
        _judge_counts(witness)
        | {"cells": [cell(results, m, t) for m, t in section(results, "judge") if t.place.witness == witness.name]}
        for witness in evidence.present
        if witness.judged
    ]


def _judge_counts(witness: Testimony) -> dict[str, Any]:
    found = [result for results in witness.judged.values() for result in results]
    return {
        "label": witness.label,
        "asked": sum(not result.identical for result in found),
        "identical": sum(result.identical for result in found),
        "excluded": sum(result.outcome is None for result in found),
    }


def contest_cards(evidence: Evidence, results: Results) -> list[dict[str, Any]]:
    """Every comparison of the candidate with another system, opponent by opponent: for the cards and the table."""
    cards = []
    for opponent, witness in contests(evidence):
        where = {"witness": witness.name, "opponent": opponent}
        row = results.value("win_rate", **where)
        others = [
            cell(results, metric, taken)
            for metric, taken in section(results, "wins")
            if taken.row.name != "win_rate" and (taken.place.witness, taken.place.opponent) == (witness.name, opponent)
        ]
        counts = tally(witness.wins[opponent])
        card = {"scorer": witness.label, "opponent": opponent, "estimate": row, "verdict": verdict(row)}
        cards.append({**card, "tally": counts, "cells": {item["label"]: item for item in others}})
    return cards


def win_columns(results: Results) -> dict[str, str]:
    """Header -> what it means, of the columns of the table of win rates beside the win rate itself."""
    return {
        taken.row.facts["label"]: taken.row.facts.get("note", "")
        for _, taken in section(results, "wins")
        if taken.row.name != "win_rate"
    }


def fact_cards(results: Results) -> list[dict[str, Any]]:
    """Cards of the numbers that every reader looks for, each with what belongs beside it."""
    cards = []
    for metric, taken in results.taken.items():
        facts, place = taken.row.facts, taken.place
        if "card" not in facts or metric not in results.metrics or place.system not in ("", "candidate"):
            continue
        estimate = results.metrics[metric]
        title = place.words(facts["card"])
        cards.append(
            {
                "title": f"{title[0].upper()}{title[1:]}",
                "estimate": estimate,
                "format": facts["format"],
                "unit": facts["unit"].format(n=estimate["n"]),
                "beside": list(_beside(results, taken)),
            }
        )
    return cards


def _beside(results: Results, card: Taken) -> Iterator[str]:
    for metric, taken in results.taken.items():
        of, text = taken.row.facts.get("beside", ("", ""))
        same_system = taken.place.system in ("", card.place.system)
        if of == card.row.name and same_system and metric in results.metrics:
            yield text.format(value=write(results.metrics[metric]["value"], taken.row.facts["format"]))

"""Vote files: one line per annotator and pair, never merged beforehand. And preflow's own records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from components.records.build import complete, make_record, simple_task
from components.records.importers.columns import answer, check_columns, choice, moment, number, refuse, said, text
from components.records.importers.options import Options
from components.records.importers.table import IMPORTERS
from components.records.schema import FIELDS, Record

_NEEDED = ("prompt", "response_a", "response_b", "annotator", "choice")
_ABOUT = ("annotator_kind", "annotator_revision", "instructions_rev", "created_at")
_OPTIONAL = ("shown_first", "duration_ms", "strength", "strength_scale", *_ABOUT)


def is_labels(row: dict[str, Any]) -> bool:
    return {"prompt", "response_a", "response_b", "choice"} <= set(row)


@IMPORTERS.row(
    method=("CONV-14", "SRC-01"),
    revision=2,
    source="",
    columns="prompt, response_a, response_b, annotator, choice (one vote a line)",
    matches=is_labels,
    known=(*_NEEDED, *_OPTIONAL),
)
def labels(row: dict[str, Any], options: Options) -> Record:
    """Votes: {prompt, response_a, response_b, annotator, choice: a|b|tie}; one record per vote.

    The choice may be in capitals. Optional: shown_first, duration_ms, strength with strength_scale [0, S],
    annotator_kind, annotator_revision, instructions_rev, created_at. What a row does not say about its annotator comes
    from the options.
    """
    check_columns(row, _NEEDED, _OPTIONAL, options.ignore_columns)
    row = {name: value for name, value in row.items() if value is not None}
    first, second = answer(row, "response_a"), answer(row, "response_b")
    outcome = choice(row, "choice", ("a", "b", "tie"))
    if first == second and outcome != "tie":
        raise refuse(
            "identical_candidates_tie", "choice", f"prefers one of two equal responses (got {outcome}). Drop it."
        )
    judgment: dict[str, Any] = {"type": "pairwise", "a": "a", "b": "b", "outcome": outcome}
    if "shown_first" in row:
        judgment["shown_order"] = ["a", "b"] if choice(row, "shown_first", ("a", "b")) == "a" else ["b", "a"]
    judgment |= {name: row[name] for name in ("strength", "strength_scale") if name in row}
    return make_record(
        task=simple_task(said(text(row, "prompt", "no_prompt"), "prompt"), options.lang),
        candidates=[options.candidate("a", first), options.candidate("b", second)],
        judgments=[judgment],
        annotator=_annotator(row, options),
        provenance=options.provenance(moment(row, "created_at")),
        quality={"duration_ms": number(row, "duration_ms")} if "duration_ms" in row else None,
    )


def _annotator(row: dict[str, Any], options: Options) -> dict[str, Any]:
    said = replace(
        options,
        annotator_kind=text(row, "annotator_kind") if "annotator_kind" in row else options.annotator_kind,
        annotator_revision=text(row, "annotator_revision")
        if "annotator_revision" in row
        else options.annotator_revision,
        instructions_rev=text(row, "instructions_rev") if "instructions_rev" in row else options.instructions_rev,
    )
    return said.person(text(row, "annotator"))


def is_record(row: dict[str, Any]) -> bool:
    return {"task", "candidates", "judgments"} <= set(row)


@IMPORTERS.row(
    method="CONV-14",
    source="",
    columns="task, candidates, judgments, ... (preflow records)",
    matches=is_record,
    known=FIELDS,
)
def records(row: dict[str, Any], options: Options) -> Record:
    """preflow records, as exported or written by another tool. What they say about themselves is kept."""
    return complete({name: value for name, value in row.items() if value is not None})

"""Read native feedback files and write them as one feedback artifact."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from components.contract import Inputs, Metrics, Outputs
from components.errors import DataError
from components.human_feedback.params import Params
from components.records import Record, prompt_key
from components.records.feedback import write_feedback
from components.records.importers import Quarantined, import_file, usable_files


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Every non-blank line becomes a record or a quarantine row; `limit` then keeps a sample of the records.

    Raises DataError if the share of quarantined lines is above `max_quarantine_share`, or if no record is left.
    """
    raw = inputs["raw"]
    rows = import_file(raw.path, params.format, pattern=params.files, **_facts(params, raw.id, outputs.identity))
    records: list[Record] = []
    quarantine: list[Quarantined] = []
    for row in tqdm(rows, desc="import", unit="line", mininterval=1):
        if isinstance(row, Quarantined):
            quarantine.append(row)
        else:
            records.append(row)
    n_lines = len(records) + len(quarantine)
    _check_share(quarantine, n_lines, params.max_quarantine_share, bool(records))
    kept = sample(records, params.limit, params.seed)
    counts = {
        "n_lines": n_lines,
        "n_sampled_out": len(records) - len(kept),
        "n_prompts": len({prompt_key(record) for record in kept}),
        "n_annotators": len({record["annotator"]["id"] for record in kept}),
    }
    files = _files(raw.path, params.files)
    summary = write_feedback(outputs["feedback"], kept, [row.row() for row in quarantine], **counts, **files)
    return {
        "n_records": summary["n_records"],
        "n_quarantined": summary["n_quarantined"],
        "quarantine_share": round(len(quarantine) / n_lines, 6),
        **counts,
    }


def _facts(params: Params, data_rev: str, run_id: str) -> dict[str, Any]:
    return {
        "source": params.source,
        "license": params.license,
        "lang": params.lang,
        "annotator": params.annotator.id,
        "annotator_kind": params.annotator.kind,
        "annotator_revision": params.annotator.revision,
        "instructions_rev": params.instructions_rev,
        "created_at": params.created_at,
        "run_id": run_id,
        "data_rev": data_rev,
        "generator": params.generator.name,
        "generator_revision": params.generator.revision,
        "ignore_columns": params.ignore_columns,
    }


def _check_share(quarantine: list[Quarantined], n_lines: int, allowed: float, any_record: bool) -> None:
    if n_lines == 0:
        raise DataError("human_feedback: the files hold no line (got 0 lines). Check the input.")
    share = len(quarantine) / n_lines
    if share <= allowed and any_record:
        return
    rules = Counter(row.rule for row in quarantine).most_common(3)
    examples = {row.rule: row.reason for row in reversed(quarantine)}
    reasons = "; ".join(f"{rule} x {count}, such as {examples[rule]}" for rule, count in rules)
    raise DataError(
        f"human_feedback: {len(quarantine)} of {n_lines} lines are quarantined (got {share:.4f}, allowed {allowed}). "
        f"Top reasons: {reasons} Fix the files or the parameters, or raise max_quarantine_share."
    )


def sample(records: list[Record], limit: int, seed: int) -> list[Record]:
    """At most `limit` records: prompts are taken whole (but the last), by sha256(seed, prompt), and kept in file order.

    A prompt's place depends on the prompt and the seed alone, so a larger limit keeps what a smaller one kept.
    """
    if limit == 0 or limit >= len(records):
        return records

    def place(index: int) -> tuple[str, int]:
        text = f"{seed}:{prompt_key(records[index])}"
        return hashlib.sha256(text.encode("ascii")).hexdigest(), index

    return [records[index] for index in sorted(sorted(range(len(records)), key=place)[:limit])]


def _files(raw: Path, pattern: str) -> dict[str, Any]:
    """Which files were read, and which of a folder were not."""
    if raw.is_file():
        return {"files": [raw.name], "files_not_read": []}
    used = usable_files(raw, pattern)
    rest = sorted(p for p in raw.rglob("*") if p.is_file() and p not in set(used))
    return {
        "files": [p.relative_to(raw).as_posix() for p in used],
        "files_not_read": [p.relative_to(raw).as_posix() for p in rest],
    }

"""Read native feedback files and write them as one feedback artifact."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from components.contract import Inputs, Metrics, Outputs
from components.errors import DataError
from components.human_feedback.params import Params
from components.records import Record, prompt_key
from components.records.feedback import write_feedback
from components.records.importers import Options, shown, usable_files
from components.records.importers.whole import Whole, read_whole, top_reasons

log = logging.getLogger(__name__)


@dataclass
class Read:
    """The files that are imported, and those that are not, each with its reason."""

    files: list[Whole] = field(default_factory=list)
    not_read: dict[str, str] = field(default_factory=dict)
    """never opened: hidden, a copy, of another kind"""
    set_aside: dict[str, str] = field(default_factory=dict)
    """opened, and found to be no feedback that can be read"""

    @property
    def n_lines(self) -> int:
        return sum(file.n_lines for file in self.files)

    @property
    def n_quarantined(self) -> int:
        return sum(len(file.quarantine) for file in self.files)


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Every non-blank line becomes a record or a quarantine row; `limit` then keeps a sample of the records.

    Of a folder, a file that cannot be read is set aside, listed and warned about (`bad_files`). Raises DataError if no
    file is left, if the share of quarantined lines is above `max_quarantine_share`, or if no record is left.
    """
    raw = inputs["raw"]
    read = read_files(raw.path, params, Options.of(_facts(params, raw.id, outputs.identity)))
    read = within_share(read, params)
    records = [record for file in read.files for record in file.records]
    kept = sample(records, params.limit, params.seed)
    counts = {
        "n_lines": read.n_lines,
        "n_sampled_out": len(records) - len(kept),
        "n_prompts": len({prompt_key(record) for record in kept}),
        "n_annotators": len({record["annotator"]["id"] for record in kept}),
        "n_files_set_aside": len(read.set_aside),
    }
    quarantine = [row.row() for file in read.files for row in file.quarantine]
    summary = write_feedback(outputs["feedback"], kept, quarantine, **counts, **_files(read))
    for line in [*(f"{name} is set aside: {why}" for name, why in read.set_aside.items()), *summary["findings"]]:
        log.warning("human_feedback: %s", line)
    return {
        "n_records": summary["n_records"],
        "n_quarantined": summary["n_quarantined"],
        "quarantine_share": round(len(quarantine) / read.n_lines, 6),
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


def _files(read: Read) -> dict[str, Any]:
    return {
        "files": [file.name for file in read.files],
        "formats": {file.name: file.about.format for file in read.files},
        "files_not_read": read.not_read,
        "files_set_aside": read.set_aside,
        "columns_left_aside": {file.name: dict(file.about.left_aside) for file in read.files if file.about.left_aside},
        "findings": [finding for file in read.files for finding in file.findings()],
    }


def read_files(root: Path, params: Params, facts: Options) -> Read:
    """Every usable file. Raises DataError if one cannot be read that is alone, or under `bad_files: refuse`."""
    found = usable_files(root, params.files, params.limits)
    read = Read(not_read=found.left_out)
    for path in tqdm(found.files, desc="import", unit="file", mininterval=1):
        name = shown(path, root) if root.is_dir() else path.name
        try:
            read.files.append(read_whole(path, name, params.format, facts, params.limits))
        except DataError as error:
            if len(found.files) == 1 or params.bad_files == "refuse":
                raise
            read.set_aside[name] = str(error)
    if not read.files:
        first = next(iter(read.set_aside.values()))
        raise DataError(f"human_feedback: none of {len(read.set_aside)} files can be read. The first: {first}")
    return read


def within_share(read: Read, params: Params) -> Read:
    """What was read, if few enough lines are quarantined; else, of a folder, without the files that have too many.

    Raises DataError if it is one file, under `bad_files: refuse`, or if nothing is left.
    """
    allowed = params.max_quarantine_share
    if _passes(read.files, allowed):
        return read
    good = [file for file in read.files if file.share <= allowed and file.records]
    if not good or params.bad_files == "refuse":
        _refuse(read, allowed)
    aside = {
        file.name: f"{len(file.quarantine)} of {file.n_lines} lines are quarantined: {top_reasons(file.quarantine)}"
        for file in read.files
        if file not in good
    }
    return Read(good, read.not_read, dict(sorted({**read.set_aside, **aside}.items())))


def _passes(files: Sequence[Whole], allowed: float) -> bool:
    n_lines = sum(file.n_lines for file in files)
    return any(file.records for file in files) and sum(len(file.quarantine) for file in files) <= allowed * n_lines


def _refuse(read: Read, allowed: float) -> None:
    if read.n_lines == 0:
        raise DataError("human_feedback: the files hold no line (got 0 lines). Check the input.")
    reasons = top_reasons(row for file in read.files for row in file.quarantine)
    share = read.n_quarantined / read.n_lines
    raise DataError(
        f"human_feedback: {read.n_quarantined} of {read.n_lines} lines are quarantined (got {share:.4f}, allowed "
        f"{allowed}). Top reasons: {reasons} Fix the files or the parameters, or raise max_quarantine_share."
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

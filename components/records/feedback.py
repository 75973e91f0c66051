"""Write the feedback artifact: records, quarantine and a summary that counts both. Torch-free."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.records import Record, flags, write_lines, write_records


def write_feedback(
    folder: Path, records: Sequence[Record], quarantine: Sequence[Mapping[str, Any]], **more: Any
) -> dict[str, Any]:
    """Write records.jsonl, quarantine.jsonl and summary.json; returns the summary. `more` is added to it."""
    write_records(folder / "records.jsonl", records)
    write_lines(folder / "quarantine.jsonl", quarantine)
    summary = {
        "n_records": len(records),
        "n_quarantined": len(quarantine),
        "by_kind": _count(judgment["type"] for record in records for judgment in record["judgments"]),
        "by_source": _count(record["provenance"]["source"] for record in records),
        "by_annotator_kind": _count(record["annotator"]["kind"] for record in records),
        "flags": _count(flag for record in records for flag in flags(record)),
        "quarantined_by_rule": _count(row["rule"] for row in quarantine),
        **more,
    }
    text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")
    return summary


def _count(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(names).items()))

"""summary.json of the data set, and the metrics taken from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from components.contract.params import dump
from components.feedback_curation.aggregate import Aggregated
from components.feedback_curation.collect import Collected, near_identical
from components.feedback_curation.gate import Gated, length_summary
from components.feedback_curation.params import Params
from components.records import Record, comparisons, flags, prompt_key
from components.votes.table import AGREEMENTS


def _count(names: Iterable[Any]) -> dict[str, int]:
    return {str(name): count for name, count in sorted(Counter(names).items())}


def summarize(
    params: Params,
    collected: Collected,
    aggregated: Aggregated,
    gated: Gated,
    studied: dict[str, Any],
    max_length: int,
    n_flipped: int,
) -> dict[str, Any]:
    """Everything that is counted, as plain JSON."""
    records = [record for split in gated.records.values() for record in split]
    read = collected.records
    spans = [j["label"] for record in read for j in record["judgments"] if j["type"] == "span"]
    return {
        "n_read": collected.n_read,
        "n_duplicates": collected.n_duplicates,
        "n_invalid": len(collected.quarantine),
        "n_gated_out": len(gated.quarantine),
        "n_records": len(records),
        "n_prompts": len({prompt_key(record) for record in records}),
        "n_flipped": n_flipped,
        "splits": {name: _split(gated, name) for name in gated.records},
        "by_kind": _count(j["type"] for record in read for j in record["judgments"]),
        "by_source": _count(record["provenance"]["source"] for record in read),
        "by_license": _count(record["provenance"]["license"] for record in read),
        "by_lang": _count(record["task"]["lang"] for record in read),
        "by_annotator_kind": _count(record["annotator"]["kind"] for record in read),
        "by_generator": _count(c["generator"]["name"] for record in read for c in record["candidates"]),
        "n_annotators": len({record["annotator"]["id"] for record in read}),
        "created": _range(record["provenance"]["created_at"] for record in read),
        "flags": _count(flag for record in read for flag in flags(record)),
        "span_labels": {"declared": list(params.span_labels), "found": _count(spans)},
        "kept_notes": dict(sorted(gated.kept.items())),
        "quarantined_by_rule": _count(row["rule"] for row in collected.quarantine + gated.quarantine),
        "near_identical": near_identical(gated.records),
        "aggregation": dump(params.aggregation)
        | {
            "votes_per_comparison": {str(n): count for n, count in sorted(aggregated.n_votes.items())},
            "left_out": {reason: count for reason, count in sorted(aggregated.left_out.items()) if count},
        },
        "tokens": {"max_length": max_length, "truncation": params.tokens.truncation},
        "annotators": studied,
    }


def _range(times: Iterable[str]) -> dict[str, str]:
    known = sorted(time for time in times if time)
    return {"first": known[0], "last": known[-1]} if known else {}


def _split(gated: Gated, name: str) -> dict[str, Any]:
    records: list[Record] = gated.records[name]
    found = comparisons(records)
    return {
        "records": len(records),
        "prompts": len({prompt_key(record) for record in records}),
        "comparisons": len(found.items),
        "ties": sum(item.tie for item in found.items),
        "without_comparison": dict(sorted(found.dropped.items())),
        "gated_out": dict(sorted(gated.by_rule[name].items())),
        "not_text": gated.not_text[name],
        "tokens": length_summary(gated.lengths[name]),
        "prompt_tokens": length_summary(gated.prompt_lengths[name]),
    }


def metrics(summary: dict[str, Any]) -> dict[str, Any]:
    """The flat metrics of the step. What is not defined on this data (no repeated votes, no shown order) is absent."""
    splits = summary["splits"]
    compared = sum(split["comparisons"] for split in splits.values())
    checked = summary["n_records"] + summary["n_gated_out"]
    found: dict[str, Any] = {name: summary[name] for name in ("n_read", "n_records", "n_prompts", "n_duplicates")}
    found |= {f"n_{name}": split["records"] for name, split in splits.items()}
    found |= {
        "n_quarantined": summary["n_invalid"] + summary["n_gated_out"],
        "invalid_share": round(summary["n_invalid"] / summary["n_read"], 6),
        "gated_out_share": round(summary["n_gated_out"] / checked, 6),
        "tie_share": round(sum(split["ties"] for split in splits.values()) / compared, 6) if compared else 0.0,
        "n_flipped": summary["n_flipped"],
        "max_tokens": max(split["tokens"].get("max", 0) for split in splits.values()),
    }
    for kind, study in summary["annotators"]["by_kind"].items():
        for row in AGREEMENTS:
            if study[row.name]["value"] is not None:
                found[f"{row.name}/{kind}"] = study[row.name]
    return found

"""Feedback sets in, one data set out. Reads as the list of what happens to a record."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from components.contract import Inputs, Metrics, Outputs
from components.errors import DataError
from components.feedback_curation.aggregate import aggregate
from components.feedback_curation.card import write_card
from components.feedback_curation.collect import Collected, collect
from components.feedback_curation.gate import Gated, gate, refuse_long
from components.feedback_curation.params import Params
from components.feedback_curation.split import check_held_out, flip, split
from components.feedback_curation.summary import metrics, summarize
from components.model_files.positions import prompt_limit, row_limit
from components.records import write_lines, write_records
from components.training.runtime import load_tokenizer
from components.votes.agreement import study
from components.votes.ballots import votes


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Validate, deduplicate, aggregate, split, check as tokens, and describe.

    Raises DataError if more than `max_bad_share` of the records is quarantined, if rows are too long and
    `tokens.truncation` is error, or if nothing is left to train on.
    """
    check_held_out(inputs, params.validation + params.test)
    policy = inputs["policy"].path
    collected = collect(inputs.many("feedback"), params.span_labels)
    _check_share("rules", len(collected.quarantine), collected.n_read, collected.quarantine, params.max_bad_share)
    studied = study(list(votes(collected.records)))
    aggregated = aggregate(collected.records, params.aggregation, outputs.identity)
    n_flipped = flip(aggregated.records, params.label_flip, params.seed)
    splits, overridden = split(aggregated.records, params.validation, params.test)
    limit = row_limit(policy, params.tokens.max_length)
    longest_prompt = prompt_limit(policy, params.tokens.max_new_tokens, "feedback_curation.tokens.max_new_tokens")
    gated = gate(splits, load_tokenizer(policy), limit, longest_prompt)
    refuse_long(gated, params.tokens, limit)
    n_gated = sum(map(len, splits.values()))
    _check_share("token gate", len(gated.quarantine), n_gated, gated.quarantine, params.max_bad_share)
    if not gated.records["train"]:
        raise DataError(
            "feedback_curation: no training record is left (got 0). Give more feedback, or lower the shares."
        )
    summary = summarize(params, collected, aggregated, gated, studied, limit, n_flipped)
    summary["splits_overridden"] = overridden
    _write(outputs["dataset"], gated, collected, summary, params.title)
    return metrics(summary)


def _check_share(where: str, bad: int, total: int, rows: list[dict[str, Any]], allowed: float) -> None:
    if total == 0:
        raise DataError("feedback_curation: the feedback holds no record (got 0). Check the steps before.")
    if bad / total <= allowed:
        return
    example = {row["rule"]: row["reason"] for row in reversed(rows)}
    top = Counter(row["rule"] for row in rows).most_common(3)
    reasons = "; ".join(f"{rule} x {count}, such as {example[rule]}" for rule, count in top)
    raise DataError(
        f"feedback_curation, {where}: {bad} of {total} records are quarantined (got share {bad / total:.4f}, "
        f"allowed {allowed}). Top reasons: {reasons} Or raise max_bad_share."
    )


def _write(folder: Path, gated: Gated, collected: Collected, summary: dict[str, Any], title: str) -> None:
    for name, records in gated.records.items():
        write_records(folder / f"{name}.jsonl", records)
    quarantine = collected.quarantine + gated.quarantine
    write_lines(folder / "quarantine.jsonl", quarantine)
    text = json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / "summary.json").write_text(text, encoding="utf-8")
    write_card(folder / "card.html", title, summary, gated, collected.imported + quarantine)

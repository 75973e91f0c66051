"""The token gate: what every row becomes for the policy's tokenizer, before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from components.errors import DataError, RecordError, first_line
from components.feedback_curation.collect import quarantined
from components.feedback_curation.params import Tokens
from components.records import Record, candidate_text, messages
from components.sequences.rules import REMEDIES, fault, got
from components.sequences.template import TEMPLATE_FAILURES
from components.sequences.tokenize import Encoded, encode_pair


@dataclass
class Gated:
    """What the gate let through, what it did not, and the lengths of all rows in tokens, by split."""

    records: dict[str, list[Record]] = field(default_factory=dict)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    by_rule: dict[str, Counter[str]] = field(default_factory=dict)
    lengths: dict[str, list[int]] = field(default_factory=dict)
    prompt_lengths: dict[str, list[int]] = field(default_factory=dict)
    not_text: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    """rows that passed, by what is worth knowing of them (`NOTES`)"""


NOTES = {
    "spelled": "a text spells a control token; it was encoded as the plain text that it is",
    "trimmed": "the chat template takes away blanks at the edges of a text",
}


def rows(record: Record, tokenizer: Any) -> Iterator[Encoded]:
    """Prompt and completion of every candidate as tokens. Raises RecordError (template_refused, text_only)."""
    prompt = messages(record)
    for candidate in record["candidates"]:
        text = candidate_text(record, candidate["cid"])
        try:
            yield encode_pair(tokenizer, prompt, text)
        except TEMPLATE_FAILURES as error:
            raise RecordError(
                f"chat template: refuses the conversation (got {first_line(error)}). {REMEDIES['template_refused']}",
                rule="template_refused",
                field="task.messages",
            ) from error


def gate(splits: dict[str, list[Record]], tokenizer: Any, max_length: int, longest_prompt: int | None = None) -> Gated:
    """Sort every record of every split: it passes if each of its rows does. Records with media pass unseen, counted.

    Prompts of the test split will be answered: they have at most `longest_prompt` tokens.
    """
    out = Gated()
    total = sum(map(len, splits.values()))
    with tqdm(total=total, desc="token gate", unit="record", mininterval=1) as bar:
        for split, records in splits.items():
            out.records[split], out.by_rule[split] = [], Counter()
            out.lengths[split], out.prompt_lengths[split] = [], []
            limits = (max_length, longest_prompt if split == "test" else None)
            for line, record in enumerate(records, start=1):
                bar.update()
                problem = _problem(record, split, tokenizer, limits, out)
                if problem is None:
                    out.records[split].append(record)
                else:
                    out.by_rule[split][problem.rule] += 1
                    out.quarantine.append(quarantined(f"{split} before the gate", line, problem, record))
    return out


def _problem(
    record: Record, split: str, tokenizer: Any, limits: tuple[int, int | None], out: Gated
) -> RecordError | None:
    found: RecordError | None = None
    notes: Counter[str] = Counter()
    try:
        for i, encoded in enumerate(rows(record, tokenizer)):
            length = len(encoded.prompt_ids) + len(encoded.completion_ids)
            out.lengths[split].append(length)
            out.prompt_lengths[split].append(len(encoded.prompt_ids))
            notes.update(name for name in NOTES if getattr(encoded, name))
            rule = fault(encoded, *limits)
            if rule and found is None:
                found = _broken(record, i, rule, got(rule, encoded, *limits))
    except RecordError as error:
        if error.rule == "text_only":
            out.not_text[split] += 1
            return None
        return error
    if found is None:
        out.kept.update(notes)
    return found


def _broken(record: Record, candidate: int, rule: str, got: str) -> RecordError:
    where = f"candidates[{candidate}]"
    what = f"record {record['record_id'][:12]}: {where} {rule.replace('_', ' ')} (got {got}). {REMEDIES[rule]}"
    return RecordError(what, rule=rule, field=where)


def refuse_long(gated: Gated, tokens: Tokens, max_length: int) -> None:
    """With `truncation: error`, a single row beyond the limit fails the step. Raises DataError."""
    too_long = sum(counts["too_long"] + counts["no_trainable_token"] for counts in gated.by_rule.values())
    if tokens.truncation == "error" and too_long:
        longest = max(max(lengths, default=0) for lengths in gated.lengths.values())
        raise DataError(
            f"tokens: {too_long} records do not fit in max_length {max_length} (got up to {longest} tokens). "
            f"Raise tokens.max_length, or set tokens.truncation: drop."
        )


def length_summary(lengths: Sequence[int]) -> dict[str, int]:
    """Count, maximum and quantiles of row lengths: the smallest that a share of q does not exceed (nearest rank)."""
    ordered = sorted(lengths)
    if not ordered:
        return {"rows": 0}
    at = {f"p{q}": ordered[-(-len(ordered) * q // 100) - 1] for q in (50, 90, 99)}
    return {"rows": len(ordered), **at, "max": ordered[-1], "total": sum(ordered)}

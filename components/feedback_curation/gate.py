"""The token gate: what every row becomes for the policy's tokenizer, before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import TemplateError
from tqdm import tqdm

from components.errors import DataError, RecordError
from components.feedback_curation.collect import quarantined
from components.feedback_curation.faithful import is_lossy, left_out
from components.feedback_curation.params import Tokens
from components.records import Record, candidate_text, messages
from components.sequences.tokenize import Encoded, encode_pair, lossy_probes

REMEDIES = {
    "double_bos": "The chat template and the tokenizer both add BOS: remove one of them.",
    "missing_eos": "The row does not end with EOS: let the chat template close the assistant turn.",
    "inner_eos": "An answer holds the EOS token as text: clean the text, or the model learns to stop there.",
    "prefix_broken": "The tokens of the prompt change once it is answered: fix the chat template.",
    "template_refused": "Change the chat template, or leave such conversations out.",
    "no_trainable_token": "The prompt alone fills max_length, or the answer has no token: raise max_length.",
    "no_room_to_answer": "The model's positions end within the answer to a test prompt: lower max_new_tokens.",
    "left_out": "The chat template leaves out a message: mend the template, or leave out such records.",
    "lossy": "The tokens do not decode to the text: use a model whose tokenizer knows its characters.",
    "too_long": "The row is longer than max_length: raise it, or accept the loss with truncation: drop.",
}
"""The gate's rules, in the order they are checked, and what to do about each."""


@dataclass
class Gated:
    """What the gate let through, what it did not, and the lengths of all rows in tokens, by split."""

    records: dict[str, list[Record]] = field(default_factory=dict)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    by_rule: dict[str, Counter[str]] = field(default_factory=dict)
    lengths: dict[str, list[int]] = field(default_factory=dict)
    prompt_lengths: dict[str, list[int]] = field(default_factory=dict)
    not_text: Counter[str] = field(default_factory=Counter)


def rows(record: Record, tokenizer: Any) -> Iterator[tuple[Encoded, list[dict[str, Any]]]]:
    """Prompt and completion of every candidate as tokens, and the conversation that they are.

    Raises RecordError (template_refused, text_only).
    """
    prompt = messages(record)
    for candidate in record["candidates"]:
        text = candidate_text(record, candidate["cid"])
        try:
            yield encode_pair(tokenizer, prompt, text), [*prompt, {"role": "assistant", "content": text}]
        except TemplateError as error:
            raise RecordError(
                f"chat template: refuses the conversation (got {error}). {REMEDIES['template_refused']}",
                rule="template_refused",
                field="task.messages",
            ) from error


def fault(encoded: Encoded, max_length: int, longest_prompt: int | None = None) -> str | None:
    """The first rule that a row breaks, or None. `longest_prompt`: most tokens of a prompt that is to be answered."""
    length = len(encoded.prompt_ids) + len(encoded.completion_ids)
    broken = {
        "double_bos": encoded.bos_count > 1,
        "missing_eos": encoded.eos_count < 1,
        "inner_eos": encoded.eos_count > 1,
        "prefix_broken": not encoded.prefix_ok,
        "no_room_to_answer": longest_prompt is not None and len(encoded.prompt_ids) > longest_prompt,
        "no_trainable_token": len(encoded.prompt_ids) >= max_length or len(encoded.completion_ids) <= encoded.eos_count,
        "too_long": length > max_length,
    }
    return next((rule for rule, is_broken in broken.items() if is_broken), None)


def gate(splits: dict[str, list[Record]], tokenizer: Any, max_length: int, longest_prompt: int | None = None) -> Gated:
    """Sort every record of every split: it passes if each of its rows does. Records with media pass unseen, counted.

    Prompts of the test split will be answered: they have at most `longest_prompt` tokens.
    """
    out = Gated()
    careful = lossy_probes(tokenizer) > 0  # a tokenizer of bytes loses nothing, and needs no look at every row
    total = sum(map(len, splits.values()))
    with tqdm(total=total, desc="token gate", unit="record", mininterval=1) as bar:
        for split, records in splits.items():
            out.records[split], out.by_rule[split] = [], Counter()
            out.lengths[split], out.prompt_lengths[split] = [], []
            limits = (max_length, longest_prompt if split == "test" else None)
            for line, record in enumerate(records, start=1):
                bar.update()
                problem = _problem(record, split, tokenizer, limits, careful, out)
                if problem is None:
                    out.records[split].append(record)
                else:
                    out.by_rule[split][problem.rule] += 1
                    out.quarantine.append(quarantined(f"{split} before the gate", line, problem, record))
    return out


def _problem(
    record: Record, split: str, tokenizer: Any, limits: tuple[int, int | None], careful: bool, out: Gated
) -> RecordError | None:
    found: RecordError | None = None
    try:
        for i, (encoded, conversation) in enumerate(rows(record, tokenizer)):
            length = len(encoded.prompt_ids) + len(encoded.completion_ids)
            out.lengths[split].append(length)
            out.prompt_lengths[split].append(len(encoded.prompt_ids))
            if found is not None:
                continue
            role = left_out(encoded, conversation)
            rule = fault(encoded, *limits) or ("left_out" if role else "")
            if not rule and careful and is_lossy(encoded, tokenizer):
                rule = "lossy"
            if rule:
                found = _broken(record, i, rule, _got(rule, encoded, limits, role))
    except RecordError as error:
        if error.rule == "text_only":
            out.not_text[split] += 1
            return None
        return error
    return found


def _got(rule: str, encoded: Encoded, limits: tuple[int, int | None], role: str) -> str:
    if rule == "left_out":
        return f"no text of a {role} message in the rendering"
    if rule == "no_room_to_answer":
        return f"{len(encoded.prompt_ids)} tokens of the prompt, room for {limits[1]}"
    return f"{len(encoded.prompt_ids)} + {len(encoded.completion_ids)} tokens, limit {limits[0]}"


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
    """Count, quantiles (nearest rank) and maximum of row lengths."""
    ordered = sorted(lengths)
    if not ordered:
        return {"rows": 0}
    at = {f"p{q}": ordered[min(len(ordered) - 1, len(ordered) * q // 100)] for q in (50, 90, 99)}
    return {"rows": len(ordered), **at, "max": ordered[-1], "total": sum(ordered)}

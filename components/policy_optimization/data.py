"""Records to token ids: which view of the feedback an objective's family reads, and what is dropped, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from components.errors import RecordError
from components.records import comparisons, demonstrations, labeled, prompt_key, read_records
from components.sequences import Sequence
from components.sequences.tokenize import Encoded, encode_pair

SIDES = {"pair": ("chosen", "rejected"), "unpaired": ("completion",), "demonstration": ("completion",)}
"""The completions of one example, by family; `<side>_logps`, `<side>_ref_logps` and `<side>_lengths` are quantities."""

GIVEN = {"pair": ("preference_probability", "margin"), "unpaired": ("desirable",), "demonstration": ()}
"""Quantities that stand in the feedback itself."""


@dataclass(frozen=True)
class Example:
    """One row of training: a prompt, the completion(s) of its family, and numbers known before the model runs."""

    prompt_ids: list[int]
    completions: tuple[list[int], ...]
    weight: float
    cluster: str  # prompt key: examples of one prompt are not independent
    given: dict[str, float]

    def rows(self) -> list[Sequence]:
        return [Sequence(self.prompt_ids, completion) for completion in self.completions]

    def with_given(self, values: dict[str, float]) -> Example:
        return replace(self, given={**self.given, **values})


@dataclass
class Examples:
    """What a split gives to a family; `counts` says what was read and what was dropped and why."""

    items: list[Example] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def read_examples(path: Path, tokenizer: Any, *, family: str, keep_ties: bool, max_length: int) -> Examples:
    """The examples of one split of a dataset.

    Ties are dropped unless the objective takes probabilities. Empty completions and pairs of identical completions are
    dropped. Raises RecordError if rows break the token rules that curation gates (length, prefix, BOS, EOS): then the
    dataset was curated for another tokenizer or limit.
    """
    view = _view(family, read_records(path))
    examples = Examples(counts=Counter({f"data/{reason}": n for reason, n in view.dropped.items()}))
    problems: dict[str, list[str]] = {}
    for item in tqdm(view.items, desc=f"tokenize {path.stem}", unit="example", mininterval=1):
        if family == "pair" and item.tie and not keep_ties:
            examples.counts["data/ties"] += 1
            continue
        texts = (item.chosen, item.rejected) if family == "pair" else (item.completion,)
        encoded = [encode_pair(tokenizer, item.messages, text) for text in texts]
        if reason := _reason_to_drop(encoded):
            examples.counts[f"data/{reason}"] += 1
            continue
        for rule in {rule for one in encoded if (rule := _broken_rule(one, max_length))}:
            problems.setdefault(rule, []).append(item.record_id)
        examples.items.append(
            Example(
                prompt_ids=encoded[0].prompt_ids,
                completions=tuple(one.completion_ids for one in encoded),
                weight=item.weight,
                cluster=prompt_key(list(item.messages)),
                given=_given(family, item),
            )
        )
    if problems:
        raise RecordError(_report(path, problems, max_length))
    examples.counts["data/examples"] = len(examples.items)
    return examples


def _view(family: str, records: Iterable[dict[str, Any]]) -> Any:
    return {"pair": comparisons, "unpaired": labeled, "demonstration": demonstrations}[family](records)


def _given(family: str, item: Any) -> dict[str, float]:
    if family == "pair":
        return {"preference_probability": item.probability, "margin": item.margin}
    return {"desirable": float(item.desirable)} if family == "unpaired" else {}


def _reason_to_drop(encoded: list[Encoded]) -> str:
    if any(len(one.completion_ids) < 2 for one in encoded):
        return "empty"  # nothing but the EOS
    if len(encoded) == 2 and encoded[0].completion_ids == encoded[1].completion_ids:
        return "identical"
    return ""


def _broken_rule(encoded: Encoded, max_length: int) -> str:
    if len(encoded.row) > max_length:
        return f"longer than max_length {max_length}"
    if not encoded.prefix_ok:
        return "whose prompt tokens are not a prefix of the whole"
    if encoded.bos_count > 1:
        return "with more than one BOS"
    if encoded.eos_count != 1:
        return "with more than one EOS in a completion"
    return ""


def _report(path: Path, problems: dict[str, list[str]], max_length: int) -> str:
    what = "; ".join(f"{len(ids)} {rule} (first: record {ids[0]})" for rule, ids in sorted(problems.items()))
    return (
        f"{path.parent.name}/{path.name}: examples break the token rules of this policy (got {what}). "
        f"Curate the feedback with this policy and max_length {max_length}, or change max_length."
    )

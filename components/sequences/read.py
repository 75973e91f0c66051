"""Records to examples: the one reader, with the token rules that hold for every training step."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from components.errors import RecordError
from components.records import prompt_key, read_records
from components.sequences.example import Example, Sequence
from components.sequences.rules import fault
from components.sequences.table import VIEWS
from components.sequences.tokenize import Encoded, encode_pair
from components.sequences.views import Item


@dataclass
class Examples:
    """What a split gives to a view.

    `origins`: for each example what of `components.records` it was read from. `dropped`: what gave none, by reason.
    """

    items: list[Example] = field(default_factory=list)
    origins: list[Any] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


def read_examples(path: Path, tokenizer: Any, *, view: str, keep_ties: bool, max_length: int) -> Examples:
    """The examples of one split of a dataset, as a row of VIEWS reads them.

    Dropped and counted: ties unless `keep_ties`, items with an empty completion ("empty"), items whose sequences are
    all the same tokens ("identical"). Raises RecordError if rows break the token rules that curation gates (length,
    prefix, BOS, EOS): then the dataset was curated for another tokenizer or limit.
    """
    found = VIEWS[view].load()(read_records(path))
    examples = Examples(dropped=Counter(found.dropped))
    problems: dict[str, list[str]] = {}
    for item in tqdm(found.items, desc=f"tokenize {path.stem}", unit="example", mininterval=1):
        if item.tie and not keep_ties:
            examples.dropped["ties"] += 1
            continue
        encoded = [encode_pair(tokenizer, side.prompt or item.messages, side.text) for side in item.sides]
        if reason := _reason_to_drop(encoded):
            examples.dropped[reason] += 1
            continue
        for rule in {rule for one in encoded if (rule := fault(one, max_length))}:
            problems.setdefault(rule, []).append(item.record_id)
        examples.items.append(_example(item, encoded))
        examples.origins.append(item.origin)
    if problems:
        raise RecordError(_report(path, problems, max_length))
    return examples


def keeps_ties(view: str, needs: tuple[str, ...]) -> bool:
    """Whether an objective with these needs can learn from a tie: it takes the number that says so."""
    return VIEWS[view].facts["ties"] in needs


def _example(item: Item, encoded: list[Encoded]) -> Example:
    """Sequences with equal prompts hold the same list, so that a prompt is kept once."""
    prompts: list[list[int]] = []
    sequences = []
    for side, one in zip(item.sides, encoded, strict=True):
        prompt = next((known for known in prompts if known == one.prompt_ids), one.prompt_ids)
        prompts.append(prompt)
        sequences.append(Sequence(prompt, one.completion_ids, side.role, given=side.given))
    return Example(tuple(sequences), item.given, item.weight, prompt_key(list(item.messages)))


def _reason_to_drop(encoded: list[Encoded]) -> str:
    if any(len(one.completion_ids) < 2 for one in encoded):
        return "empty"  # nothing but the EOS
    if len(encoded) > 1 and all(one.row == encoded[0].row for one in encoded):
        return "identical"
    return ""


def _report(path: Path, problems: dict[str, list[str]], max_length: int) -> str:
    what = "; ".join(
        f"{len(ids)} {rule.replace('_', ' ')} (first: record {ids[0]})" for rule, ids in sorted(problems.items())
    )
    return (
        f"{path.parent.name}/{path.name}: examples break the token rules of this policy (got {what}). "
        f"Curate the feedback with this policy and max_length {max_length}, or change max_length."
    )

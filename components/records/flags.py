"""What is legal in a record but must never pass unseen: counted and shown, not refused. Same shape as a rule."""

from __future__ import annotations

from collections.abc import Iterator

from components.records.rules import Labels, Rule, candidates_of, judgments_of
from components.records.schema import Problem, Record

FLAGS: dict[str, Rule] = {}


def _flag(function: Rule) -> Rule:
    FLAGS[function.__name__] = function
    return function


def flags(record: Record) -> list[str]:
    """The names of the flags a valid record raises."""
    return [name for name, rule in FLAGS.items() if any(True for _ in rule(record, None))]


@_flag
def truncated_preferred(record: Record, labels: Labels) -> Iterator[Problem]:
    """A candidate that was cut off is the preferred side."""
    truncated = {cid for cid, candidate in candidates_of(record).items() if candidate["truncated"]}
    for where, judgment in judgments_of(record, "pairwise"):
        if judgment["outcome"] in ("a", "b") and judgment[judgment["outcome"]] in truncated:
            yield where, "prefers a truncated candidate."
    for where, judgment in judgments_of(record, "ranking"):
        if len(judgment["tiers"]) > 1 and truncated & set(judgment["tiers"][0]):
            yield where, "ranks a truncated candidate first."


@_flag
def order_not_recorded(record: Record, labels: Labels) -> Iterator[Problem]:
    """A comparison does not say which candidate was shown first, so position bias cannot be measured on it."""
    for where, judgment in judgments_of(record, "pairwise"):
        if "shown_order" not in judgment and "combined_of" not in judgment:
            yield where, "has no shown order."


@_flag
def generator_unknown(record: Record, labels: Labels) -> Iterator[Problem]:
    """It is not known what wrote a candidate."""
    for i, candidate in enumerate(record["candidates"]):
        if candidate["generator"]["name"] == "unknown":
            yield f"candidates[{i}]", "has an unknown generator."

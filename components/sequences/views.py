"""One row per shape of feedback: how records become items of text. `read` makes examples of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.records import Record, comparisons, demonstrations, labeled, ranked_lists
from components.sequences.table import VIEWS


@dataclass(frozen=True)
class Side:
    """One completion of an item. `prompt`: its own messages where they are not those of the item."""

    role: str
    text: str
    given: Mapping[str, float] = field(default_factory=dict)
    prompt: tuple[dict[str, Any], ...] | None = None


@dataclass(frozen=True)
class Item:
    """An example as text. `origin`: what of `components.records` it was read from. `tie`: nothing is preferred."""

    messages: tuple[dict[str, Any], ...]
    sides: tuple[Side, ...]
    origin: Any
    given: Mapping[str, float] = field(default_factory=dict)
    tie: bool = False

    @property
    def weight(self) -> float:
        return float(self.origin.weight)

    @property
    def record_id(self) -> str:
        return str(self.origin.record_id)


@dataclass(frozen=True)
class View:
    """The items of some records, and what gave none, by reason."""

    items: list[Item]
    dropped: Counter[str]


@VIEWS.row(
    roles={"chosen": "one", "rejected": "one"},
    given={"preference_probability": "share", "margin": "share"},
    ties="preference_probability",
)
def pair(records: Iterable[Record]) -> View:
    """Two completions of one prompt, of which one is preferred.

    `preference_probability` is P(chosen is preferred), 0.5 for a tie; `margin` the strength of the preference as a
    share of the scale it was stated on, 0 if none was stated.
    """
    found = comparisons(records)
    items = [
        Item(
            item.messages,
            (Side("chosen", item.chosen), Side("rejected", item.rejected)),
            item,
            {"preference_probability": item.probability, "margin": item.margin},
            item.tie,
        )
        for item in found.items
    ]
    return View(items, found.dropped)


@VIEWS.row(roles={"completion": "one"}, given={"desirable": "binary"}, ties="")
def unpaired(records: Iterable[Record]) -> View:
    """One completion that was called desirable or not: `desirable` is 1 or 0."""
    found = labeled(records)
    items = [
        Item(item.messages, (Side("completion", item.completion),), item, {"desirable": float(item.desirable)})
        for item in found.items
    ]
    return View(items, found.dropped)


@VIEWS.row(roles={"completion": "one"}, given={}, ties="")
def demonstration(records: Iterable[Record]) -> View:
    """One completion to imitate: the preferred ones of pairs, rankings and labels."""
    found = demonstrations(records)
    items = [Item(item.messages, (Side("completion", item.completion),), item) for item in found.items]
    return View(items, found.dropped)


@VIEWS.row(name="list", roles={"listed": "many"}, given={"listed_tiers": "rank"}, ties="")
def ranked(records: Iterable[Record]) -> View:
    """Two or more completions of one prompt in order: `listed_tiers` is 0 for the best, equal for tied ones."""
    found = ranked_lists(records)
    items = [
        Item(
            item.messages,
            tuple(
                Side("listed", text, {"tiers": float(tier)})
                for text, tier in zip(item.completions, item.tiers, strict=True)
            ),
            item,
        )
        for item in found.items
    ]
    return View(items, found.dropped)

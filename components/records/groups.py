"""Which prompts belong together, and so to one split: by normal form, and by more than an opening that many share.

    groups = Groups(records)                  # looks at the openings of all of them
    groups.share(record) < test               # in the test split
    groups.is_held_out(record, 0.2)           # for steps before the split: never sampled, never trained on

A dialogue is known by what its user says first, so that all its turns are on one side: later turns hold the earlier
answers. An opening that more than a tenth of the prompts share (and more than 20) tells no dialogue from another: these
are told apart by the next thing the user says, and so on. A prompt therefore changes sides with the data around it only
when its opening becomes, or ceases to be, that common.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from components.records.canonical import sha256
from components.records.prompts import Message, prompt_messages
from components.records.schema import Record

COMMON_SHARE, COMMON_COUNT = 0.1, 20
"""An opening of more than both, in distinct prompts, does not say which dialogue it opens."""
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")


def normal_form(text: str) -> str:
    """Text without its Unicode form, case, blanks at the edges or in a row, and invisible characters.

    Two prompts of one normal form are one prompt. Punctuation, another wording and another system text make another.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold())
    return " ".join(text.lower().split())


def normal_prompt(record_or_messages: Record | Sequence[Message]) -> list[Message]:
    """Role and content of the messages, texts in their normal form; what is not text stays as it is."""
    return [
        {"role": m["role"], "content": normal_form(m["content"]) if isinstance(m["content"], str) else m["content"]}
        for m in prompt_messages(record_or_messages)
    ]


def normal_key(record_or_messages: Record | Sequence[Message]) -> str:
    """sha256 (hex) of the normal form of a whole prompt: equal for prompts that are the same to a reader."""
    return sha256(normal_prompt(record_or_messages))


def _turns(record_or_messages: Record | Sequence[Message]) -> tuple[str, ...]:
    """What the user says, turn by turn, as hashes; the first one with all that stands before it."""
    prompt = normal_prompt(record_or_messages)
    first = next((i for i, message in enumerate(prompt) if message["role"] == "user"), len(prompt) - 1)
    later = [message["content"] for message in prompt[first + 1 :] if message["role"] == "user"]
    return (sha256(prompt[: first + 1]), *map(sha256, later))


def _share(turns: tuple[str, ...]) -> float:
    """A number in [0, 1): the first 32 bits of a hash. Of one turn, that of the turn itself."""
    return int((turns[0] if len(turns) == 1 else sha256(list(turns)))[:8], 16) / 2**32


class Groups:
    """The openings of a set of prompts. Their order does not matter, nor how often a prompt stands there."""

    def __init__(self, records: Iterable[Record | Sequence[Message]]) -> None:
        self._distinct = {_turns(record) for record in records}
        self._total = len(self._distinct)
        self._counts: Counter[tuple[str, ...]] = Counter()
        open_, depth = list(self._distinct), 1
        while open_:  # deeper only below openings that are common even by half the measure
            self._counts.update(turns[:depth] for turns in open_)
            open_ = [turns for turns in open_ if len(turns) > depth and self._is_common(turns[:depth], 0.5)]
            depth += 1

    def share(self, record: Record | Sequence[Message]) -> float:
        """The number in [0, 1) that decides the split of a prompt (see `split_of`)."""
        return _share(self._opening(_turns(record), 1.0))

    def is_held_out(self, record: Record | Sequence[Message], below: float) -> bool:
        """Whether a prompt may come into a split that begins `below` this share, here or in a larger set.

        By every opening that a set of up to twice or half the size might choose: what is kept for a test is never used
        before, though curation sees more feedback than the steps before it.
        """
        turns = _turns(record)
        shallowest, deepest = len(self._opening(turns, 2.0)), len(self._opening(turns, 0.5))
        return any(_share(turns[:depth]) < below for depth in range(shallowest, deepest + 1))

    def __len__(self) -> int:
        """How many groups there are."""
        return len({self._opening(turns, 1.0) for turns in self._distinct})

    def _opening(self, turns: tuple[str, ...], factor: float) -> tuple[str, ...]:
        depth = 1
        while depth < len(turns) and self._is_common(turns[:depth], factor):
            depth += 1
        return turns[:depth]

    def _is_common(self, opening: tuple[str, ...], factor: float) -> bool:
        return self._counts[opening] > factor * max(COMMON_COUNT, COMMON_SHARE * self._total)


def shared_prompts(splits: Mapping[str, Iterable[Record]]) -> list[str]:
    """Normal keys of prompts that occur in more than one split (must be empty)."""
    seen: dict[str, str] = {}
    shared = set()
    for name, records in splits.items():
        for record in records:
            key = normal_key(record)
            if seen.setdefault(key, name) != name:
                shared.add(key)
    return sorted(shared)

"""The promotion ledger: which version was champion when, who moved it, why. Pure functions, no MLflow.

MLflow keeps no history of its aliases, so preflow writes one entry per decision, as a tag of the registered model: the
ledger lives with the registry and every client sees the same one. Entries are numbered and hash-chained, so that a
lost, edited or reordered entry is found on the next read. The ledger decides, the aliases follow it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from components.errors import ArtifactError, ParamsError

PREFIX = "ledger."
CHAMPION, CHALLENGER = "champion", "challenger"
MAX_REASON = 1000  # characters; the tag column of the smallest supported store holds 5000
Action = Literal["promote", "rollback", "refuse", "keep"]
GENESIS = "0" * 64
REMEDY = "Restore the registry's database from a backup, or go on under a new model name."


@dataclass(frozen=True)
class Entry:
    """One decision. `promote` and `rollback` move `alias` from `before` to `after`; `refuse` and `keep` move nothing:
    `before` is the champion that stays, `after` the version that was decided on. Versions are 0 for "none".
    """

    seq: int
    action: Action
    alias: str
    before: int
    after: int
    by: str
    reason: str
    time: str
    previous_hash: str

    def to_json(self) -> str:
        raw = asdict(self)
        raw["from"], raw["to"] = raw.pop("before"), raw.pop("after")
        return json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.to_json().encode("utf-8")).hexdigest()

    @property
    def key(self) -> str:
        """The tag that holds the entry: `ledger.000001`, ..."""
        return f"{PREFIX}{self.seq:06d}"

    @property
    def moves(self) -> bool:
        return self.action in ("promote", "rollback")


def _parse(key: str, text: str, where: str) -> Entry:
    try:
        raw = json.loads(text)
        raw["before"], raw["after"] = raw.pop("from"), raw.pop("to")
        entry = Entry(**raw)
        known = entry.action in get_args(Action) and isinstance(entry.seq, int)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArtifactError(f"{where}: tag {key} is not a ledger entry ({error}). {REMEDY}") from error
    if not known or entry.key != key:
        raise ArtifactError(f"{where}: ledger entry {key} holds what preflow does not write there. {REMEDY}")
    return entry


def read(tags: Mapping[str, str], where: str) -> list[Entry]:
    """The entries in the tags of a registered model, oldest first.

    Raises ArtifactError if an entry is missing or malformed, or one before it was changed after it was written.
    """
    entries = [_parse(key, text, where) for key, text in sorted(tags.items()) if key.startswith(PREFIX)]
    previous = GENESIS
    for number, entry in enumerate(entries, start=1):
        if entry.seq != number:
            raise ArtifactError(f"{where}: ledger entry {number} is missing (next is {entry.seq}). {REMEDY}")
        if entry.previous_hash != previous:
            raise ArtifactError(
                f"{where}: ledger entry {number} does not follow from entry {number - 1}: one of them was changed "
                f"after it was written. {REMEDY}"
            )
        previous = entry.hash
    return entries


def following(
    entries: Sequence[Entry], action: Action, move: tuple[str, int, int], *, by: str, reason: str, time: str
) -> Entry:
    """The next entry of a ledger; `move` is (alias, before, after). Raises ParamsError for an empty or long reason."""
    reason = reason.strip()
    if not reason:
        raise ParamsError("reason: must not be empty. Say why the model moves; it is kept with the model.")
    if len(reason) > MAX_REASON:
        raise ParamsError(f"reason: at most {MAX_REASON} characters (got {len(reason)}). Shorten it.")
    previous = entries[-1].hash if entries else GENESIS
    return Entry(len(entries) + 1, action, *move, by, reason, time, previous)


def champions(entries: Sequence[Entry]) -> list[int]:
    """The versions that were champion, oldest first; the last one is champion now.

    A rollback takes the last one off, so that two rollbacks in a row go back two steps.
    """
    stack: list[int] = []
    for entry in entries:
        if entry.alias != CHAMPION:
            continue
        if entry.action == "promote":
            if entry.before and entry.before not in stack[-1:]:
                stack.append(entry.before)  # was made champion outside preflow, and a forced promotion took it over
            stack.append(entry.after)
        elif entry.action == "rollback":
            stack.pop()
    return stack


def aliases(entries: Sequence[Entry]) -> dict[str, int]:
    """Where the aliases must point, by the ledger. A challenger that becomes champion is no challenger any more."""
    state: dict[str, int] = {}
    for entry in entries:
        if entry.moves:
            state[entry.alias] = entry.after
            if entry.alias == CHAMPION and state.get(CHALLENGER) == entry.after:
                del state[CHALLENGER]
    return state

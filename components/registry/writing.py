"""The ledger of one model while this client alone writes it: entries first, then the aliases that follow from them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from components.contract.run import home
from components.locks import file_lock
from components.registry import ledger as chain
from components.registry.ledger import CHALLENGER, CHAMPION, Entry
from components.registry.lock import tag_lock
from components.registry.models import APPLIED, Models, aliases, check_champion, moved_by_hand, pending, read_ledger


@dataclass(frozen=True)
class OpenLedger:
    """`entries` as they were when it was opened, `state`: alias -> version as it is to be read now."""

    models: Models
    name: str
    entries: list[Entry]
    state: dict[str, int]

    def append(self, action: chain.Action, move: tuple[str, int, int], by: str, reason: str) -> Entry:
        """Write `move` (alias, from, to) down, then make it so."""
        time = datetime.now(UTC).isoformat(timespec="seconds")
        entry = chain.following(self.entries, action, move, by=by, reason=reason, time=time)
        self.models.client.set_registered_model_tag(self.name, entry.key, entry.to_json())
        point(self.models, self.name, [*self.entries, entry])
        return entry


def point(models: Models, name: str, entries: list[Entry]) -> None:
    """Make the aliases what the ledger says."""
    client, wanted, actual = models.client, chain.aliases(entries), aliases(models.model(name))
    for alias in (CHAMPION, CHALLENGER):
        if alias in wanted and actual.get(alias) != wanted[alias]:
            client.set_registered_model_alias(name, alias, str(wanted[alias]))
        elif alias not in wanted and alias in actual:
            client.delete_registered_model_alias(name, alias)
    client.set_registered_model_tag(name, APPLIED, str(len(entries)))


@contextmanager
def writing(models: Models, name: str, *, take_over: bool = False) -> Iterator[OpenLedger]:
    """The ledger of a model while no other client writes; a move cut short by a crash is finished first.

    With `take_over` an alias that was moved by hand is taken as it is.
    """
    client = models.client
    tags = tag_lock(
        f"model {name}",
        lambda: models.model(name).tags,
        lambda key, text: client.set_registered_model_tag(name, key, text),
        lambda key: client.delete_registered_model_tag(name, key),
    )
    models.model(name)  # an unknown name is an error before any lock is taken
    with file_lock(home() / "registry.lock"), tags:
        model = models.model(name)
        entries = read_ledger(model)
        if take_over and moved_by_hand(model, entries):
            yield OpenLedger(models, name, entries, aliases(model))
            return
        check_champion(model, entries)
        if pending(model, entries):
            point(models, name, entries)
        yield OpenLedger(models, name, entries, chain.aliases(entries))

"""What MLflow holds about models, read: their versions, and the ledger with the aliases that follow from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from components.errors import ArtifactError, UserError, nearest
from components.registry import ledger as chain
from components.registry.connection import Connection
from components.registry.ledger import CHAMPION, Entry
from components.registry.version import VersionInfo, version_info

APPLIED = "ledger-applied"  # how many entries the aliases reflect: tells a crash from a move by hand


class Models:
    """The registered models of one server. Nothing is written here."""

    def __init__(self, client: Connection) -> None:
        self.client = client

    def names(self) -> list[str]:
        return sorted(model.name for model in _pages(self.client.search_registered_models))

    def look_up(self, name: str) -> Any | None:
        """MLflow's own object, or None. Raises UserError for a name that cannot be one."""
        if not re.fullmatch(r"[\w.-]+", name):
            raise UserError(
                f"model {name!r}: a name is made of letters, digits, '.', '_' and '-'. Choose another name."
            )
        found = self.client.search_registered_models(filter_string=f"name = '{name}'")
        return found[0] if found else None

    def model(self, name: str) -> Any:
        """MLflow's own object. Raises UserError with the nearest name."""
        model = self.look_up(name)
        if model is None:
            raise UserError(f"model {name}: no such registered model.{nearest(name, self.names())}")
        return model

    def search(self, query: str) -> list[VersionInfo]:
        """Versions that fit an MLflow filter, with their aliases."""
        found = list(_pages(self.client.search_model_versions, query))
        pointers = {name: aliases(self.model(name)) for name in {raw.name for raw in found}}
        return [
            version_info(raw, [a for a, number in pointers[raw.name].items() if number == int(raw.version)])
            for raw in found
        ]

    def number(self, name: str, alias: str) -> int | None:
        """The version that the ledger and the alias agree on; None if there is none, or no such model."""
        model = self.look_up(name)
        if model is None:
            return None
        entries = read_ledger(model)
        check_champion(model, entries)
        return chain.aliases(entries).get(alias)


def read_ledger(model: Any) -> list[Entry]:
    """The decisions on a model. Raises ArtifactError if the chain is broken or one is missing."""
    entries = chain.read(model.tags, f"model {model.name}")
    if len(entries) < (known := int(model.tags.get(APPLIED, "0"))):
        raise ArtifactError(f"model {model.name}: ledger entry {known} is missing. {chain.REMEDY}")
    return entries


def aliases(model: Any) -> dict[str, int]:
    return {alias: int(version) for alias, version in model.aliases.items()}


def pending(model: Any, entries: list[Entry]) -> bool:
    """A client wrote an entry and died before it moved the aliases."""
    return int(model.tags.get(APPLIED, "0")) < len(entries)


def moved_by_hand(model: Any, entries: list[Entry]) -> bool:
    wanted = chain.aliases(entries).get(CHAMPION)
    return not pending(model, entries) and aliases(model).get(CHAMPION) != wanted


def check_champion(model: Any, entries: list[Entry]) -> None:
    """Raise ArtifactError if the champion is not the one that the ledger says."""
    if moved_by_hand(model, entries):
        raise ArtifactError(
            f"model {model.name}: the champion alias points to version {aliases(model).get(CHAMPION, 'none')}, the "
            f"ledger says {chain.aliases(entries).get(CHAMPION, 'none')}: it was moved outside preflow. Put it back, "
            f"or write the move down: preflow models promote {model.name} VERSION --force --reason WHY."
        )


def _pages(search: Callable[..., Any], query: str | None = None) -> Iterator[Any]:
    token = None
    while True:
        page = search(filter_string=query, page_token=token)
        yield from page
        token = page.token
        if not token:
            return

"""What a row of the catalogue claims about its objective. The tests measure every claim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Direction:
    """At the default knobs the loss rises (or falls) in each of `arguments`, everywhere that `given` holds."""

    rises: bool
    arguments: tuple[str, ...]
    given: Mapping[str, float]

    def __str__(self) -> str:
        given = _settings(self.given)
        names = ", ".join(f"`{name}`" for name in self.arguments)
        return f"{'rises' if self.rises else 'falls'} in {names}" + (f" where {given}" if given else "")


@dataclass(frozen=True)
class Reduction:
    """With these `knobs` and `given` quantities the loss is that of the objective `to` at its default knobs.

    `given` may hold one value for each place of the axis K. `rename` says which of our quantities stands for which of
    theirs, where the names differ: {theirs: ours}, `ours[k]` for one place of the axis K. `supply`: what they take
    that we do not, as a number: an objective without a reference can be one whose reference is the same everywhere.
    """

    to: str
    knobs: Mapping[str, float] = field(default_factory=dict)
    given: Mapping[str, float | tuple[float, ...]] = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    supply: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        when = _settings({**self.knobs, **self.given})
        renamed = ", ".join(f"`{theirs}` from `{ours}`" for theirs, ours in self.rename.items())
        supplied = f" with {_settings(self.supply)}" if self.supply else ""
        return f"is `{self.to}`{supplied}" + (f" when {when}" if when else "") + (f" ({renamed})" if renamed else "")


Claim = Direction | Reduction


def increases(*arguments: str, **given: float) -> Direction:
    """The loss rises when one of these arguments does, wherever the quantities have the values `given`."""
    return Direction(True, arguments, given)


def decreases(*arguments: str, **given: float) -> Direction:
    """The loss falls when one of these arguments rises, wherever the quantities have the values `given`."""
    return Direction(False, arguments, given)


def _settings(values: Mapping[str, float | tuple[float, ...]]) -> str:
    return ", ".join(f"`{name}` = {_text(value)}" for name, value in values.items())


def _text(value: float | tuple[float, ...]) -> str:
    return f"({', '.join(f'{one:g}' for one in value)})" if isinstance(value, tuple) else f"{value:g}"

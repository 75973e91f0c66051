"""Which model answered: the one that was asked, or another one under its name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from components.errors import ParamsError
from components.judges.asker import Completion

_SNAPSHOT = re.compile(r"[-_@:.]?(\d{3,4}|\d{4}-?\d{2}(-?\d{2})?|latest|preview|\d{4}-?\d{2}-?\d{2}-?v\d+(:\d+)?)")
"""What a service appends to the name of a model to say which snapshot of it answers."""


def is_another(asked: str, served: str) -> bool:
    """Whether `served` names another model than `asked`.

    Case, the folder before a name (`org/name`, `models/name`) and a snapshot behind it (`name-2026-01-31`,
    `name:latest`) make no other model; an empty name says nothing.
    """
    one, other = (name.strip().rstrip("/").lower().rpartition("/")[2] for name in (asked, served))
    if not other or one == other:
        return False
    shorter, longer = sorted((one, other), key=len)
    return not (longer.startswith(shorter) and _SNAPSHOT.fullmatch(longer[len(shorter) :]))


def check_served(asked: str, completions: Iterable[Completion], allowed: float) -> None:
    """Raise ParamsError if more than the share `allowed` of the answers come from another model than was asked."""
    answers = [completion.model for completion in completions if not completion.refused]
    others = Counter(name for name in answers if is_another(asked, name))
    if others.total() > allowed * len(answers):
        names = ", ".join(f"{name} ({count})" for name, count in others.most_common(3))
        raise ParamsError(
            f"judge.model: {others.total()} of {len(answers)} answers come from another model than was asked for (got "
            f"{names}, asked {asked}). Name the model that is to judge as the endpoint does, or allow a share with "
            "judge.other_models; answers so far are kept."
        )

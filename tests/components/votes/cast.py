"""A vote with nothing around it."""

from __future__ import annotations

from typing import NamedTuple


class Cast(NamedTuple):
    annotator: str
    outcome: str
    p_a: float | None = None

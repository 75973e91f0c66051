"""Every flow by name: what `preflow run`, `preflow plan` and the deployments can start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flows import align, retrain
from flows.graph import Node


@dataclass(frozen=True)
class Entry:
    """`run` is the Prefect flow, `wire` its graph without running it; `beats_champion`: wire takes `champion=` too."""

    run: Callable[..., Any]
    wire: Callable[..., Node]
    beats_champion: bool = False


FLOWS: dict[str, Entry] = {
    "align": Entry(align.align, align.wire),
    "retrain": Entry(retrain.retrain, retrain.wire, beats_champion=True),
}

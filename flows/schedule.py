"""Steps of a graph at the same time: those whose inputs are there, as many as there is room for."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from flows.graph import Node


@dataclass(frozen=True)
class Demand:
    """What a running step takes of the machine."""

    cores: int
    gpu: bool


@dataclass(frozen=True)
class Room:
    """What may run at the same time: at most so many steps, whose threads fit the cores, and one of them on a GPU."""

    steps: int
    cores: int

    def admits(self, running: Sequence[Demand], new: Demand) -> bool:
        """Whether a further step may start. Alone, any step may."""
        if not running:
            return True
        fits = sum(demand.cores for demand in running) + new.cores <= self.cores
        return fits and len(running) < self.steps and not (new.gpu and any(demand.gpu for demand in running))


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(nodes: Iterable[Node], run: Callable[[Node], None]) -> None:
    """One after the other."""
    for node in nodes:
        run(node)


def at_once(
    nodes: Iterable[Node],
    run: Callable[[Node], None],
    demand: Callable[[Node], Demand],
    room: Room,
    end: Callable[[], None],
) -> None:
    """Run every node when what it depends on among `nodes` is done, in their order where there is a choice.

    When a step fails no other is started, those that run come to their end (their work is kept), and its error is
    raised. `end()` ends what runs, when this call itself is ended from outside.
    """
    waiting = list(nodes)
    running: dict[Future[None], Node] = {}
    failed: BaseException | None = None
    with ThreadPoolExecutor(max_workers=room.steps, thread_name_prefix="step") as pool:
        try:
            while running or (waiting and failed is None):
                for node in [] if failed else _ready(waiting, [*waiting, *running.values()]):
                    if room.admits([demand(other) for other in running.values()], demand(node)):
                        waiting.remove(node)
                        running[pool.submit(contextvars.copy_context().run, run, node)] = node
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    del running[future]
                    failed = failed or future.exception()
        except BaseException:
            end()
            raise
    if failed is not None:
        raise failed


def _ready(waiting: Sequence[Node], unfinished: Sequence[Node]) -> list[Node]:
    """Those that depend on nothing unfinished."""
    names = {node.name for node in unfinished}
    return [node for node in waiting if not names & {h.step for handles in node.inputs.values() for h in handles}]

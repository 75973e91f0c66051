"""Independent steps at the same time: order, room, failure, and an end from outside."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from components.contract.spec import Port, Spec
from flows.graph import Handle, Node
from flows.schedule import Demand, Room, at_once, in_order

WAIT = 20.0  # seconds after which a step that should have been let go on counts as stuck


def node(name: str, *parents: str) -> Node:
    spec = Spec(name, "1", name, True, {}, {"out": Port("out", "samples")}, {})
    return Node(name, name, spec, {"in": tuple(Handle(parent, "out", "samples") for parent in parents)})


DIAMOND = [node("a"), node("b", "a"), node("c", "a"), node("d", "b", "c"), node("e", "other")]
ONE = Demand(1, gpu=False)


def run(nodes: list[Node], step: Callable[[Node], None], room: Room, **more: Any) -> None:
    at_once(nodes, step, more.get("demand", lambda node: ONE), room, more.get("end", lambda: None))


def test_a_step_starts_when_what_it_depends_on_is_done() -> None:
    begun: list[str] = []
    done: set[str] = set()

    def step(node: Node) -> None:
        begun.append(node.name)
        for handle in node.inputs["in"]:
            assert handle.step in done or handle.step == "other"
        done.add(node.name)

    run(DIAMOND, step, Room(4, 4))
    assert sorted(begun) == ["a", "b", "c", "d", "e"]
    assert begun.index("d") > max(begun.index("b"), begun.index("c"))


def test_independent_steps_run_at_the_same_time() -> None:
    """Each waits for the other: one after the other they would wait for ever."""
    both = threading.Barrier(2, timeout=WAIT)
    run([node("b"), node("c")], lambda node: both.wait() and None, Room(2, 2))


@pytest.mark.parametrize(
    ("room", "demands", "most"),
    [
        (Room(2, 8), {}, 2),
        (Room(4, 2), {}, 2),
        (Room(4, 4), {"a": Demand(4, gpu=False), "b": Demand(4, gpu=False)}, 2),
        (Room(4, 4), dict.fromkeys("abcd", Demand(1, gpu=True)), 1),
        (Room(4, 2), dict.fromkeys("abcd", Demand(9, gpu=False)), 1),
    ],
)
def test_no_more_runs_than_there_is_room_for(room: Room, demands: dict[str, Demand], most: int) -> None:
    lock, now, seen = threading.Lock(), 0, []

    def step(node: Node) -> None:
        nonlocal now
        with lock:
            now += 1
            seen.append(now)
        threading.Event().wait(0.02)
        with lock:
            now -= 1

    run([node(name) for name in "abcd"], step, room, demand=lambda node: demands.get(node.name, ONE))
    assert len(seen) == 4
    assert max(seen) <= most


def test_room_is_for_threads_too() -> None:
    room = Room(4, 4)
    assert room.admits([], Demand(9, gpu=False))
    assert room.admits([Demand(3, gpu=False)], ONE)
    assert not room.admits([Demand(4, gpu=False)], ONE)
    assert room.admits([Demand(1, gpu=True)], ONE)
    assert not room.admits([Demand(1, gpu=True)], Demand(1, gpu=True))
    assert not Room(1, 4).admits([ONE], ONE)


def test_a_failure_lets_others_end_starts_none_and_is_raised() -> None:
    failed, done = threading.Event(), []

    def step(node: Node) -> None:
        if node.name == "b":
            failed.set()
            raise ValueError("b broke")
        if node.name == "c":
            assert failed.wait(WAIT)
        done.append(node.name)

    with pytest.raises(ValueError, match="b broke"):
        run([node("b"), node("c"), node("d", "c")], step, Room(2, 2))
    assert done == ["c"]


def test_whatever_ends_the_call_ends_the_steps() -> None:
    """As Ctrl-C does, which reaches the waiting thread only."""
    ended = threading.Event()

    def demand(node: Node) -> Demand:
        if node.name == "c":
            raise KeyboardInterrupt
        return ONE

    def step(node: Node) -> None:
        assert ended.wait(WAIT), "nobody ended it"

    with pytest.raises(KeyboardInterrupt):
        run([node("b"), node("c")], step, Room(2, 2), demand=demand, end=ended.set)


def test_one_after_the_other_keeps_the_order() -> None:
    seen: list[str] = []
    in_order(DIAMOND, lambda node: seen.append(node.name))
    assert seen == ["a", "b", "c", "d", "e"]

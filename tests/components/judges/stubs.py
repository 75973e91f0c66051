"""Judges of which everything is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from components.judges import Outcome, PairItem, Verdict


class StubJudge:
    """Answers by a function of the shown item and counts the questions."""

    explains = True

    def __init__(self, decide: Callable[[PairItem], Outcome | None]) -> None:
        self.decide, self.questions = decide, 0

    def answer(self, items: Sequence[PairItem]) -> list[Verdict]:
        self.questions += len(items)
        return [Verdict(self.decide(item)) for item in items]

    def who(self) -> dict[str, object]:
        return {"id": "stub", "kind": "llm", "revision": "1", "temperature": 0.0}

    def annotator(self, item: PairItem) -> dict[str, object]:
        return {**self.who(), "instructions_rev": "stub@1"}

    def execution(self) -> dict[str, int]:
        return {}


def always_first(item: PairItem) -> Outcome:
    return "a"


def longer(item: PairItem) -> Outcome:
    """An oracle for items in which the longer text is the better one."""
    return "a" if len(item.a) > len(item.b) else "b" if len(item.b) > len(item.a) else "tie"


def coin(item: PairItem) -> Outcome:
    """A fair coin, a function of the shown texts."""
    return "a" if hashlib.sha256(f"{item.a}|{item.b}".encode()).digest()[0] % 2 else "b"


def items(n: int) -> list[PairItem]:
    """Pairs of different texts; `a` is the longer one in every second pair."""
    message = [{"role": "user", "content": "Say something."}]
    return [
        PairItem(str(i), message, f"text {i}" + "!" * (i % 2 + 1), f"text {i}" + "!" * (2 - i % 2)) for i in range(n)
    ]

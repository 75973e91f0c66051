"""The known truth as a witness: it is asked as a preference model or a judge is."""

from __future__ import annotations

from collections.abc import Sequence

from components.preference_models.witness import Pair, Text
from components.simulation.gold import TERMS, gold_terms, gold_utility


class KnownTruth:
    """The true utility of the simulated world as a witness, certain of every pair: 1, 0, or 0.5 where they are equal.

    Raises RecordError for a prompt that is not of that world.
    """

    def compare(self, pairs: Sequence[Pair]) -> list[float]:
        scores = [(_utility(pair, pair.a), _utility(pair, pair.b)) for pair in pairs]
        return [1.0 if a > b else 0.0 if a < b else 0.5 for a, b in scores]

    def score(self, texts: Sequence[Text]) -> list[float]:
        return [_utility(text, text.completion) for text in texts]

    def explain(self, pairs: Sequence[Pair]) -> list[str]:
        """The terms of the utility in which the two differ, as differences a - b."""
        return [_differences(pair) or "no difference" for pair in pairs]


def _asked(item: Text | Pair) -> str:
    return next(message["content"] for message in reversed(item.messages) if message["role"] == "user")


def _utility(item: Text | Pair, completion: str) -> float:
    return gold_utility(_asked(item), completion)


def _differences(pair: Pair) -> str:
    a, b = (gold_terms(_asked(pair), text) for text in (pair.a, pair.b))
    return ", ".join(f"{name} {TERMS[name] * (a[name] - b[name]):+.2f}" for name in TERMS if a[name] != b[name])

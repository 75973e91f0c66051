"""A judge as a witness: P(a is preferred), like a preference model or the known truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.errors import JudgeError
from components.judges.orders import PairResult, Rule, judge_both_orders
from components.judges.pairs import Outcome, PairItem
from components.judges.reply import Judge
from components.preference_models.witness import Pair


class JudgeWitness:
    """Compares by asking in both orders. It has no scores; its explanations are what it said with `a` shown first."""

    def __init__(self, judge: Judge[PairItem, Outcome], rule: Rule = "mean_p") -> None:
        self._judge, self._rule = judge, rule

    def _results(self, pairs: Sequence[Pair]) -> list[PairResult]:
        items = [PairItem("", pair.messages, pair.a, pair.b) for pair in pairs]
        return judge_both_orders(self._judge, items, self._rule)

    def compare(self, pairs: Sequence[Pair]) -> list[float]:
        """P(a is preferred to b) in [0, 1]. Raises JudgeError if there is no verdict on one of them."""
        return [_known(result, i) for i, result in enumerate(self._results(pairs))]

    def score(self, texts: Sequence[Any]) -> None:
        """None: a judge of pairs has no scores."""

    def explain(self, pairs: Sequence[Pair]) -> list[str] | None:
        """What the judge said about each pair."""
        return [result.first.text for result in self._results(pairs)] if self._judge.explains else None


def _known(result: PairResult, i: int) -> float:
    if result.p_a is None:
        reason = result.first.reason or result.second.reason
        raise JudgeError(f"judge: no verdict on pair {i} ({reason}). Leave it out, or ask a judge that can tell.")
    return result.p_a

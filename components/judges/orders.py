"""Judging in both orders: a judge that likes a position must not decide anything.

Every pair is asked twice, with its completions exchanged; the second verdict is mapped back to the pair's own `a` and
`b`, and a named rule combines the two (EVAL-03):

    mean_p         p_a = mean of the two orders; no verdict in either order: excluded
    conservative   a win only if both orders agree, else a tie; no verdict in either order: excluded
                   (Zheng et al. 2023, "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena", section 3.4)
    net            sign of the sum of +1 (a), -1 (b), 0 (tie, no verdict) over the orders; excluded only without any
                   verdict (Tan et al. 2024, "JudgeBench")
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from components.judges.pairs import Outcome, PairItem, Verdict
from components.judges.reply import Judge

Rule = Literal["mean_p", "conservative", "net"]


@dataclass(frozen=True)
class PairResult:
    """The combined verdict on one pair.

    p_a, outcome: None when the pair is excluded, because a verdict is missing.
    consistent: both orders say the same (two ties do); None when a verdict is missing or nothing was asked.
    first, second: the verdicts with `a` shown first and with `b` shown first, both about the pair's own `a` and `b`.
    identical: the completions are the same text: a tie by rule, the judge was not asked.
    """

    p_a: float | None
    outcome: Outcome | None
    consistent: bool | None
    first: Verdict
    second: Verdict
    identical: bool = False

    @property
    def favours_first(self) -> bool | None:
        """For an inconsistent pair: the verdicts lean to whatever is shown first. None if there is no such lean."""
        if self.consistent is not False:
            return None
        lean = self.first.p_a - self.second.p_a  # type: ignore[operator]  # both verdicts are there
        return lean > 0  # p_a with `a` shown first, above p_a with `a` shown second; never equal when inconsistent


def combine(first: Verdict, second: Verdict, rule: Rule) -> PairResult:
    """Combine the verdicts of the two orders, both already about the pair's own `a` and `b`."""
    known = [verdict.p_a for verdict in (first, second) if verdict.p_a is not None]
    consistent = first.outcome == second.outcome if len(known) == 2 else None
    if not known or (len(known) < 2 and rule != "net"):
        return PairResult(None, None, None, first, second)
    if rule == "mean_p":
        p_a = sum(known) / 2
    elif rule == "conservative":
        p_a = known[0] if consistent else 0.5
    else:
        net = sum(p - 0.5 for p in known)
        p_a = 0.5 + (net > 0) / 2 - (net < 0) / 2
    outcome: Outcome = "a" if p_a > 0.5 else "b" if p_a < 0.5 else "tie"
    return PairResult(p_a, outcome, consistent, first, second)


def judge_both_orders(
    judge: Judge[PairItem, Outcome], items: Sequence[PairItem], rule: Rule = "mean_p"
) -> list[PairResult]:
    """Ask the judge about every pair in both orders. Identical completions are a tie without asking.

    Exchanging `a` and `b` of an item gives exactly 1 - p_a, since the same two questions are asked.
    """
    asked = [item for item in items if item.a != item.b]
    replies = judge.answer([shown for item in asked for shown in (item, item.swapped())])
    verdicts = (Verdict(**vars(reply)) for reply in replies)
    results = []
    for item in items:
        if item.a == item.b:
            tie = Verdict("tie", reason="identical completions")
            results.append(PairResult(0.5, "tie", None, tie, tie, identical=True))
        else:
            first, second = next(verdicts), next(verdicts).swapped()
            results.append(combine(first, second, rule))
    return results

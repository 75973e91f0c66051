"""What becomes of a judge's answers: one function and one row each.

What a row needs is given by name: `result` (both orders of a pair), `reply` (about one completion), `contract` (what
was asked) and `explain` (whether the judge's texts are explanations worth keeping). Candidates are called `a` and `b`,
the only one `a`. The row's `counts` names what its `Settled.counts` may count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from components.contract.ranges import Range
from components.judges.contract import Scaled
from components.judges.orders import PairResult
from components.judges.pairs import Outcome
from components.judges.reply import Reply
from components.judges.table import SOURCES

Judgment = dict[str, Any]


@dataclass(frozen=True)
class Settled:
    """The judgments of one record. None of them: `why` there was no answer, or it was left out on purpose ("")."""

    judgments: list[Judgment] = field(default_factory=list)
    why: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)


def pair_judgments(result: PairResult, outcome: Outcome, p_a: float, explain: bool) -> list[Judgment]:
    """A judged pair, written once: each order that got a verdict as it was shown, then the two combined.

    Only the combined judgment counts as a vote; the orders behind it say how far the judge follows positions.
    """
    judgments: list[Judgment] = []
    texts: list[str] = []
    for verdict, order in ((result.first, ["a", "b"]), (result.second, ["b", "a"])):
        if verdict.outcome is not None:
            judgment = {"type": "pairwise", "a": "a", "b": "b", "outcome": verdict.outcome, "shown_order": order}
            judgments.append(judgment)
            texts.append(verdict.text)
    orders = list(range(len(judgments)))
    judgments.append({"type": "pairwise", "a": "a", "b": "b", "outcome": outcome, "p_a": p_a, "combined_of": orders})
    judgments += [
        {"type": "rationale", "of": of, "text": text, "author": "judge"} for of, text in enumerate(texts) if text
    ] * explain
    return judgments


@SOURCES.row(
    name="both_orders",
    method="SRC-11",
    source="Lee et al. 2023, RLAIF, sec. 3.1: position bias is cancelled by asking in both orders and averaging",
    item="pair",
    answer="verdict",
    counts=("n_undecided", "n_dropped", "n_ties"),
)
def both_orders(
    result: PairResult,
    explain: bool,
    *,
    delta: Annotated[float, Range(at_least=0, at_most=0.5)] = 0.0,
    inconsistent: Literal["tie", "drop"] = "tie",
) -> Settled:
    """Pairwise judgments: the verdicts of both orders, and P(a) as their mean.

    A pair counts as undecided if the two orders disagree or |p_a - 0.5| < delta; then it becomes a tie, or no record.
    """
    if result.p_a is None or result.outcome is None:
        return Settled(why=result.first.reason or result.second.reason)
    outcome, p_a = result.outcome, result.p_a
    undecided = result.consistent is False or abs(p_a - 0.5) < delta
    if undecided and inconsistent == "drop":
        return Settled(counts={"n_undecided": 1, "n_dropped": 1})
    if undecided:
        outcome, p_a = "tie", 0.5
    counts = {"n_undecided": int(undecided), "n_ties": int(outcome == "tie")}
    return Settled(pair_judgments(result, outcome, p_a, explain), counts=counts)


@SOURCES.row(
    name="scores",
    method="FMT-05",
    source="Kim et al. 2023, Prometheus, sec. 3",
    item="completion",
    answer="grade",
    counts=(),
)
def scores(reply: Reply[int], contract: Scaled, explain: bool) -> Settled:
    """A score judgment with the contract's attribute and scale, and the judge's feedback as a critique."""
    if reply.value is None:
        return Settled(why=reply.reason)
    low, high = contract.scale
    score = {
        "type": "score",
        "cid": "a",
        "attribute": contract.attribute,
        "value": reply.value,
        "scale": {"min": low, "max": high, "step": 1, "type": "ordinal"},
        "higher_is_better": True,
    }
    feedback = [{"type": "critique", "cid": "a", "text": reply.text}] * (explain and bool(reply.text))
    return Settled([score, *feedback])

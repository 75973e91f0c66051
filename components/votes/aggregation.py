"""Counting votes: the majority of verdicts, and the share of the votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from components.contract.ranges import NonNegative
from components.records import votes_to_probability
from components.votes.ballots import BESIDE, Ballot, Decision
from components.votes.table import AGGREGATIONS

_HARD = {"a": 1.0, "b": 0.0, "tie": 0.5}


@AGGREGATIONS.row(method="AGG-01", source="")
def majority(polls: Sequence[Sequence[Ballot]], *, smoothing: NonNegative = 1.0) -> list[Decision]:
    """Most votes win; an equal number is a tie, never a draw of lots.

    P(a) = (n_a + n_tie/2 + smoothing) / (n + 2 smoothing) over the votes that compare (CONV-05), 0.5 for a tie. A
    single vote keeps the probability that its annotator gave: there is nothing to aggregate.
    """
    return [_alone(poll) or _majority(poll, smoothing) for poll in polls]


@AGGREGATIONS.row(method="AGG-07", source="")
def vote_share(polls: Sequence[Sequence[Ballot]], *, smoothing: NonNegative = 1.0) -> list[Decision]:
    """The side above half of the votes wins; an annotator's own probability is that much of a vote.

    P(a) = (sum of P + smoothing) / (n + 2 smoothing) over the votes that compare (CONV-05); a verdict without a
    probability counts 1, 0 or, for a tie, 1/2. A single vote keeps the probability that its annotator gave.
    """
    return [_alone(poll) or _share(poll, smoothing) for poll in polls]


def _alone(poll: Sequence[Ballot]) -> Decision | None:
    """What a single vote says, if it says it all: a probability, or that it does not compare."""
    if len(poll) == 1 and (poll[0].outcome in BESIDE or poll[0].p_a is not None):
        return Decision(poll[0].outcome, poll[0].p_a)
    return None


def _winner(counts: Counter[str]) -> str:
    most = max(counts.values())
    top = [outcome for outcome, count in counts.items() if count == most]
    return top[0] if len(top) == 1 else "tie"


def _majority(poll: Sequence[Ballot], smoothing: float) -> Decision:
    counts = Counter(ballot.outcome for ballot in poll)
    winner = _winner(counts)
    if winner in BESIDE or set(counts) <= BESIDE:
        return Decision(winner, None)
    if winner == "tie":
        return Decision("tie", 0.5)
    return Decision(winner, votes_to_probability(counts["a"], counts["b"], counts["tie"], alpha=smoothing).p_a)


def _share(poll: Sequence[Ballot], smoothing: float) -> Decision:
    comparing = [ballot for ballot in poll if ballot.outcome not in BESIDE]
    if not comparing:
        return Decision(_winner(Counter(ballot.outcome for ballot in poll)), None)
    soft = [_HARD[ballot.outcome] if ballot.p_a is None else ballot.p_a for ballot in comparing]
    p_a = round(votes_to_probability(sum(soft), len(soft) - sum(soft), 0, alpha=smoothing).p_a, 12)
    return Decision("a" if p_a > 0.5 else "b" if p_a < 0.5 else "tie", p_a)

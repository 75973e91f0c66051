"""Votes weighed by what their annotators' other votes show them to be worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.contract.ranges import Count, NonNegative
from components.errors import DataError
from components.votes.ballots import BESIDE, COMPARING, Ballot, Decision
from components.votes.table import AGGREGATIONS

_FLOOR = 1e-10  # of a probability of saying what was never said
_OUTCOMES = (*COMPARING, *sorted(BESIDE))
_DIGITS = 8  # what the floor and the order of the votes change lies beyond them

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class _Votes:
    """Vote by vote: which poll [V], which annotator [V], which of `classes` was said [V]."""

    poll: Ints
    who: Ints
    said: Ints
    classes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of polls T, annotators A and classes C."""
        return int(self.poll.max()) + 1, int(self.who.max()) + 1, len(self.classes)


@AGGREGATIONS.row(method="AGG-02", source="Dawid and Skene 1979")
def dawid_skene(
    polls: Sequence[Sequence[Ballot]], *, tolerance: NonNegative = 1e-5, max_iterations: Count = 100
) -> list[Decision]:
    """Every annotator has a confusion matrix, learnt from all votes together with the verdicts, by EM.

    P(c) of a poll is in proportion to prior(c) times the product over its votes of P_annotator(said | c); prior and
    matrices are the means under P. The start is the share of the votes, so that the majority names the classes. It ends
    when the log-likelihood gains less than `tolerance` a vote, or after `max_iterations`. Verdicts count, not an
    annotator's own probabilities; an annotator with one vote, or a poll with one, weighs what the prior says.

    Raises DataError where the votes agree with the outcome in half of the cases or fewer: then it may as well be
    the opposite (the likelihood of a solution with two classes exchanged is the same).
    """
    if not polls:
        return []
    votes = _numbered(polls)
    p = _start(votes)
    before = -np.inf
    for _ in range(max_iterations):
        p, likelihood = _step(votes, p)
        if likelihood - before < tolerance:
            break
        before = likelihood
    _check_direction(votes, p)
    return [_decision(row, votes.classes) for row in p]


def _numbered(polls: Sequence[Sequence[Ballot]]) -> _Votes:
    flat = [(t, ballot.annotator, ballot.outcome) for t, poll in enumerate(polls) for ballot in poll]
    people = {name: i for i, name in enumerate(sorted({who for _, who, _ in flat}))}
    seen = {outcome for _, _, outcome in flat}
    classes = tuple(outcome for outcome in _OUTCOMES if outcome in seen)
    index = np.array([(t, people[who], classes.index(said)) for t, who, said in flat], dtype=np.int64)
    return _Votes(index[:, 0], index[:, 1], index[:, 2], classes)


def _start(votes: _Votes) -> Floats:
    """Share of the votes of each class [T, C]."""
    n_polls, _, n_classes = votes.shape
    counts = np.zeros((n_polls, n_classes))
    np.add.at(counts, (votes.poll, votes.said), 1.0)
    return np.asarray(counts / counts.sum(1, keepdims=True))


def _step(votes: _Votes, p: Floats) -> tuple[Floats, float]:
    """One M and one E step: P of the classes [T, C], and the log-likelihood per vote of what made it."""
    n_polls, n_people, n_classes = votes.shape
    said = np.zeros((n_people, n_classes, n_classes))  # [A, what was said, what is so]
    np.add.at(said, (votes.who, votes.said), p[votes.poll])
    said = np.maximum(said, _FLOOR)
    said /= said.sum(1, keepdims=True)
    with np.errstate(divide="ignore"):  # a class that nobody believes in any more
        log_p = np.tile(np.log(p.mean(0)), (n_polls, 1))
    np.add.at(log_p, votes.poll, np.log(said[votes.who, votes.said]))
    top = log_p.max(1, keepdims=True)
    weight = np.exp(log_p - top)
    total = weight.sum(1, keepdims=True)
    return weight / total, float((top + np.log(total)).sum()) / len(votes.poll)


def _check_direction(votes: _Votes, p: Floats) -> None:
    right = float(p[votes.poll, votes.said].mean())
    if right <= 0.5:
        raise DataError(
            f"dawid_skene: the votes agree with its outcome in half of the cases or fewer (got {right:.3f}), so that "
            "the outcome may as well be the opposite. Use aggregation.method.name=majority, or more votes."
        )


def _decision(row: Floats, classes: tuple[str, ...]) -> Decision:
    p = dict(zip(classes, np.round(row, _DIGITS).tolist(), strict=True))
    top = [outcome for outcome, share in p.items() if share == max(p.values())]
    if len(top) == 1 and top[0] in BESIDE:
        return Decision(top[0], None)
    compared = sum(p.get(outcome, 0.0) for outcome in COMPARING)
    p_a = round((p.get("a", 0.0) + p.get("tie", 0.0) / 2) / compared, _DIGITS) if compared else 0.5
    if len(top) > 1 or top[0] == "tie" or p_a == 0.5:
        return Decision("tie", 0.5)
    return Decision(top[0], p_a)

"""Dawid-Skene (AGG-02): one iteration by hand, recovery of known annotators, and where it must refuse."""

from __future__ import annotations

import numpy as np
import pytest

from components.errors import DataError
from components.votes.aggregation import majority
from components.votes.ballots import Decision
from components.votes.dawid_skene import dawid_skene
from tests.components.votes.cast import Cast


def polls(*rows: str) -> list[list[Cast]]:
    """One poll per row, the vote of annotator 0, 1, ... per letter; a dot is no vote."""
    word = {"a": "a", "b": "b", "t": "tie", "n": "both_bad"}
    return [[Cast(f"p{i}", word[letter]) for i, letter in enumerate(row) if letter != "."] for row in rows]


def simulated(accuracies: list[float], n: int, seed: int) -> tuple[list[list[Cast]], list[str]]:
    """Everybody votes on n polls of a or b, and is right as often as said."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, n)
    right = rng.random((n, len(accuracies))) < accuracies
    cast = [[Cast(f"p{i}", "ab"[t if ok else 1 - t]) for i, ok in enumerate(row)] for t, row in zip(truth, right)]
    return cast, ["ab"[t] for t in truth]


def share(decisions: list[Decision], truth: list[str]) -> float:
    return float(np.mean([decision.outcome == answer for decision, answer in zip(decisions, truth, strict=True)]))


def test_one_iteration_by_hand() -> None:
    """aaa, aab, bba. Shares of a: 1, 2/3, 1/3; prior of a: 2/3.

    Annotators 0 and 1 say a with 5/3 of 2 where it is a (5/6), and with 1/3 of 1 where it is b (1/3). Annotator 2 says
    a with 4/3 of 2 (2/3), and with 2/3 of 1 (2/3): a vote without any worth. So polls 1 and 2 get the same answer:
    a : b = 2/3 (5/6)^2 : 1/3 (1/3)^2 = 50 : 4, and poll 3: 2/3 (1/6)^2 : 1/3 (2/3)^2 = 2 : 16.
    """
    decided = dawid_skene(polls("aaa", "aab", "bba"), max_iterations=1)
    assert [decision.outcome for decision in decided] == ["a", "a", "b"]
    assert [decision.p_a for decision in decided] == pytest.approx([25 / 27, 25 / 27, 1 / 9], abs=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_a_spammer_and_an_adversary_are_seen_through(seed: int) -> None:
    """Annotators who are right in .95 .9 .55 .55 .15 of 500 polls. The majority is right in .761 of them (exactly, over
    all outcomes of five votes); whoever knew the accuracies could reach .974."""
    cast, truth = simulated([0.95, 0.9, 0.55, 0.55, 0.15], 500, seed)
    assert 0.70 < share(majority(cast), truth) < 0.82
    assert share(dawid_skene(cast), truth) > 0.96


def test_equally_good_annotators_give_the_majority() -> None:
    cast, _ = simulated([0.8] * 5, 400, 0)
    assert [d.outcome for d in dawid_skene(cast)] == [d.outcome for d in majority(cast)]


def test_the_vote_of_the_better_annotator_weighs_more() -> None:
    """One against two: 0, whom 3 and 4 confirm everywhere, against 1 and 2, who say either as often."""
    rows = ["aabaa", "bbabb", "abaaa", "babbb", "abbaa", "baabb"] * 5
    (*_, last) = dawid_skene(polls(*rows, "abb.."))
    (*_, counted) = majority(polls(*rows, "abb.."))
    assert (last.outcome, counted.outcome) == ("a", "b")


def test_a_poll_with_one_vote_gives_the_vote_weighed_by_the_prior() -> None:
    """Nine polls that the others decide, 7 a and 2 b; annotator 3 says b in 1 of 2 that are a, and in 1 of 2 that are
    b. With q = P(a) of a tenth poll, where 3 alone said b: prior (7 + q) : (3 - q), and b is said with
    (1 + q) / (2 + q) where it is a, with (2 - q) / (3 - q) where it is b. So q solves its own odds (q = 0.8085)."""
    rows = ["aaaa", "aaab", "bbba", "bbbb", "aaa.", "aaa.", "aaa.", "aaa.", "aaa."]
    (*_, alone) = dawid_skene(polls(*rows, "...b"), tolerance=0.0)
    q = alone.p_a
    assert q is not None
    odds = (7 + q) / (3 - q) * ((1 + q) / (2 + q)) / ((2 - q) / (3 - q))
    assert q / (1 - q) == pytest.approx(odds, rel=1e-5)
    assert q == pytest.approx(0.8085, abs=1e-3)


def test_outcomes_that_do_not_compare_are_classes_too() -> None:
    decided = dawid_skene(polls("nnn", "aaa", "ttt", "bbb", "nna"))
    assert [(d.outcome, d.p_a) for d in decided[:4]] == [("both_bad", None), ("a", 1.0), ("tie", 0.5), ("b", 0.0)]
    assert decided[4].outcome == "both_bad"


def test_votes_that_decide_nothing_are_refused() -> None:
    """One vote each way: both answers are as likely, and the labels of the two might be exchanged."""
    with pytest.raises(DataError, match=r"got 0\.500.*majority"):
        dawid_skene(polls("ab", "ba"))


def test_it_stops_by_itself() -> None:
    cast, _ = simulated([0.9, 0.8, 0.7], 200, 1)
    assert dawid_skene(cast, tolerance=0.0, max_iterations=3000) == dawid_skene(
        cast, tolerance=0.0, max_iterations=4000
    )
    assert dawid_skene(cast, tolerance=1e9) == dawid_skene(cast, max_iterations=2)

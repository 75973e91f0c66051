"""PO-70: the best of several samples, and nothing said about those that tie with it."""

from __future__ import annotations

import pytest

from components.heuristics.rules.best_of_n import best_of_n
from components.records.samples import Sample


def group(*texts: str, cut: tuple[int, ...] = ()) -> list[Sample]:
    message = {"role": "user", "content": "p"}
    return [
        Sample("k", (message,), i, text, (1,), (0.0,), "length" if i in cut else "eos", 0, i + 1)
        for i, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("scores", "tiers", "complete"),
    [
        ([0.1, 0.9, 0.5], [["s1"], ["s2"], ["s0"]], True),
        ([0.5, 0.9, 0.5], [["s1"], ["s0", "s2"]], True),
        ([0.9, 0.1, 0.9], [["s0"], ["s1"]], False),  # s2 is as good as s0: it is no loser, and not the first
        ([-3.0, -2.0, -4.0], [["s1"], ["s0"], ["s2"]], True),
    ],
)
def test_samples_are_ranked_by_score_and_the_first_of_the_best_is_the_best(scores, tiers, complete):
    (found,) = best_of_n(group("x", "y", "z"), scores)
    assert found.judgments == [{"type": "ranking", "tiers": tiers, "complete": complete}]
    assert {name: sample.completion for name, sample in found.samples.items()} == {"s0": "x", "s1": "y", "s2": "z"}


@pytest.mark.parametrize(
    ("texts", "scores"), [("xyz", [1.0, 1.0, 1.0]), ("x", [1.0]), ("xxx", [1.0, 1.0, 1.0]), ("", [])]
)
def test_without_two_different_scores_there_is_nothing_to_say(texts, scores):
    assert best_of_n(group(*texts), scores) == []


def test_a_repeated_text_is_ranked_once():
    (found,) = best_of_n(group("x", "y", "x"), [0.2, 0.9, 0.2])
    assert found.judgments[0]["tiers"] == [["s1"], ["s0"]]


def test_a_completion_that_was_cut_off_is_not_the_best_unless_asked_for():
    cut = group("x", "y", "z", cut=(1,))
    (found,) = best_of_n(cut, [0.1, 0.9, 0.5])
    assert found.judgments[0]["tiers"] == [["s2"], ["s0"]]
    (kept,) = best_of_n(cut, [0.1, 0.9, 0.5], truncated="keep")
    assert kept.judgments[0]["tiers"] == [["s1"], ["s2"], ["s0"]]
    assert best_of_n(group("x", "y", cut=(1,)), [0.1, 0.9]) == []

"""The random sample is fixed before outputs exist; the selected rows say how they were picked."""

from __future__ import annotations

import inspect
from collections import Counter

import pytest

from components.evaluation.showcase import disagreements, draw, largest


def test_the_same_run_shows_the_same_prompts_and_another_run_others() -> None:
    categories = ["a"] * 200
    assert draw("run", "set", categories, 20) == draw("run", "set", categories, 20)
    assert draw("run", "set", categories, 20) != draw("other", "set", categories, 20)
    assert draw("run", "set", categories, 20) != draw("run", "other", categories, 20)


def test_nothing_that_a_model_wrote_reaches_the_draw() -> None:
    assert list(inspect.signature(draw).parameters) == ["identity", "prompt_set_hash", "categories", "k"]


def test_prompts_are_drawn_without_replacement() -> None:
    for run in range(200):
        shown = draw(f"run{run}", "set", ["a", "b", "c", "a", "b"] * 9, 20)
        assert len(set(shown)) == len(shown) == 20


def test_few_prompts_are_all_shown() -> None:
    assert draw("run", "set", ["a"] * 5, 20) == [0, 1, 2, 3, 4]


def test_categories_get_their_share() -> None:
    """30 and 10 of 40 prompts: 15 and 5 of 20; with 7 prompts 5.25 and 1.75, rounded up or down."""
    categories = ["a", "b", "a", "a"] * 10
    for run in range(50):
        assert Counter(categories[i] for i in draw(f"run{run}", "s", categories, 20)) == {"a": 15, "b": 5}
        assert Counter(categories[i] for i in draw(f"run{run}", "s", categories, 7))["a"] in (5, 6)


@pytest.mark.parametrize("categories", [["a"] * 20, ["a"] * 13 + ["b"] * 7])
def test_every_prompt_is_equally_likely(categories: list[str]) -> None:
    """10 000 runs, 6 of 20 prompts each: mean count 3000; chi-square with 19 degrees below 43.8 (p = .001)."""
    counts = Counter(i for run in range(10_000) for i in draw(f"run{run}", "set", categories, 6))
    # each count is binomial(10 000, 0.3): the variance is 3000 * 0.7, and the 20 counts sum to 60 000
    assert sum((counts[i] - 3000) ** 2 / (3000 * 0.7) for i in range(20)) * 19 / 20 < 43.8


def test_disagreements_need_two_winners() -> None:
    """Win against loss counts; a tie or a missing verdict is no disagreement."""
    assert disagreements([1.0, 1.0, 0.5, None, 0.0], [0.0, 1.0, 0.0, 0.0, 0.75]) == {0: 1.0, 4: 0.75}


def test_a_selection_says_its_rule_and_how_many_it_had() -> None:
    chosen = largest("losses", "largest first", {3: 0.5, 1: 2.0, 2: 0.5, 0: 0.1}, 3)
    assert (chosen.rule, chosen.total, chosen.rows) == ("largest first", 4, [1, 2, 3])

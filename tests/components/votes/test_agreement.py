"""Agreement and bias against hand-worked values."""

from __future__ import annotations

import itertools
import random

import pytest

from components.votes.agreement import (
    agreement_with_others,
    each_with_others,
    first_shown_wins,
    krippendorff_alpha,
    longer_wins,
    percent_agreement,
    study,
)
from components.votes.ballots import votes
from tests.components.records.samples import both_orders, pair
from tests.components.votes.cast import Cast


def test_alpha_of_the_method_text() -> None:
    """Units YY, NN, YN: n = 6, n_Y = n_N = 3. Do = 2/6 (the one split unit gives two off-diagonal coincidences of 1),
    De = 2 * 3 * 3 / (6 * 5) = 0.6. alpha = 1 - (1/3) / 0.6 = 0.4444."""
    assert krippendorff_alpha(["YY", "NN", "YN"])["value"] == pytest.approx(4 / 9)


def test_alpha_with_unequal_numbers_of_votes() -> None:
    """aab, ab, bbb, c: c alone pairs with nothing. Coincidences off the diagonal: aab gives 2*2*1/(3-1) = 2, ab gives
    2*1*1/1 = 2; n = 8, n_a = 3, n_b = 5: Do = 4/8, De = 2*3*5/(8*7) = 30/56. alpha = 1 - 0.5 * 56 / 30 = 1/15."""
    found = krippendorff_alpha(["aab", "ab", "bbb", "c"])
    assert found["value"] == pytest.approx(1 / 15)
    assert found["n"] == 3


def test_alpha_is_one_for_perfect_agreement_and_about_zero_for_coins() -> None:
    assert krippendorff_alpha(["aa", "bb", "aaa"])["value"] == 1.0
    rng = random.Random(0)
    coins = ["".join(rng.choices("ab", k=3)) for _ in range(3000)]
    found = krippendorff_alpha(coins)
    assert abs(found["value"] or 1) < 0.04
    assert found["ci_low"] < 0 < found["ci_high"]  # type: ignore[operator]


@pytest.mark.parametrize("units", [[], ["a", "b"], ["aa", "aaa"]])
def test_alpha_is_undefined_where_nothing_can_differ(units: list[str]) -> None:
    assert krippendorff_alpha(units)["value"] is None


def test_alpha_does_not_depend_on_the_order_of_items_or_votes() -> None:
    units = ["aab", "ab", "bb", "ba", "aa", "bbb"]
    turned = [unit[::-1] for unit in reversed(units)]
    assert krippendorff_alpha(units) == krippendorff_alpha(turned)


def test_the_interval_of_alpha_holds_the_value_and_narrows_with_data() -> None:
    few, many = krippendorff_alpha(["YY", "NN", "YN"] * 10), krippendorff_alpha(["YY", "NN", "YN"] * 1000)
    assert few["ci_low"] < few["value"] < few["ci_high"]  # type: ignore[operator]
    assert many["ci_high"] - many["ci_low"] < (few["ci_high"] - few["ci_low"]) / 5  # type: ignore[operator]


def test_percent_agreement_is_the_mean_over_items_of_agreeing_pairs() -> None:
    """aab: 1 of 3 pairs; aa: 1 of 1; a alone: no pair. (1/3 + 1) / 2 = 2/3."""
    found = percent_agreement(["aab", "aa", "a"])
    assert found["value"] == pytest.approx(2 / 3)
    assert found["n"] == 2


def test_each_vote_is_held_against_the_majority_of_the_others() -> None:
    """Item 1, p=a q=a r=b: p has others a,b (split, .5), q too (.5), r has a,a (0). Item 2, p=a q=a: 1 and 1.
    Item 3, only p: nothing to compare. All: (.5 + .5 + 0 + 1 + 1) / 5 = 0.6; p: (.5 + 1) / 2 = 0.75; r: 0."""
    polls = [[Cast("p", "a"), Cast("q", "a"), Cast("r", "b")], [Cast("p", "a"), Cast("q", "a")], [Cast("p", "b")]]
    each = each_with_others(polls)
    assert agreement_with_others(polls)["value"] == pytest.approx(0.6)
    assert {who: row["value"] for who, row in each.items()} == {"p": 0.75, "q": 0.75, "r": 0.0}
    assert {who: row["n"] for who, row in each.items()} == {"p": 2, "q": 2, "r": 1}


def test_position_and_length_are_seen_whatever_the_labels_of_the_sides() -> None:
    """All eight ways to write one verdict: the first shown answer wins in half, the longer in half, however the sides
    are named. Then one-sided data: always first, always longer."""
    every = [
        pair(
            outcome,
            prompt=f"{outcome}{order}{long}",
            texts=("xx", "x") if long else ("x", "xx"),
            shown_order=list(order),
        )
        for outcome, order, long in itertools.product("ab", ("ab", "ba"), (True, False))
    ]
    assert first_shown_wins(votes(every))["value"] == 0.5
    assert longer_wins(votes(every))["value"] == 0.5
    first = [pair(order[0], prompt=order, shown_order=list(order)) for order in ("ab", "ba")]
    assert first_shown_wins(votes(first))["value"] == 1.0
    longer = [pair(side, prompt=side, texts=("long", "x") if side == "a" else ("x", "long")) for side in "ab"]
    assert longer_wins(votes(longer))["value"] == 1.0


def test_position_bias_of_a_judge_is_measured_on_both_shown_orders() -> None:
    """One that always takes the first answer: two verdicts a pair, all for the first, though each pair is a tie.

    One that is right whatever comes first: its winner is shown first in one of the two orders.
    """
    texts = [("Blue", "Seven"), ("Seven", "Blue")]
    biased = list(votes([both_orders("a", "b", "tie", texts=both) for both in texts]))
    assert [vote.outcome for vote in biased] == ["tie", "tie"]
    assert (first_shown_wins(biased)["value"], first_shown_wins(biased)["n"]) == (1.0, 4)
    fair = list(votes([both_orders(side, side, side, texts=both) for both in texts for side in "ab"]))
    assert (first_shown_wins(fair)["value"], first_shown_wins(fair)["n"]) == (0.5, 8)
    assert study(biased)["by_kind"]["llm"]["votes"] == 2


def test_ties_unknown_orders_and_equal_lengths_are_not_counted() -> None:
    assert first_shown_wins(votes([pair("tie", shown_order=["a", "b"]), pair("a")]))["n"] == 0
    assert longer_wins(votes([pair("tie"), pair("a", texts=("same", "size"))]))["n"] == 0


def test_the_same_comparison_is_recognised_with_its_sides_swapped() -> None:
    """Two people prefer the same text; one saw it as a, the other as b."""
    found = study(list(votes([pair("a", annotator="p"), pair("b", texts=("Seven", "Blue"), annotator="q")])))
    human = found["by_kind"]["human"]
    assert (human["comparisons"], human["percent_agreement"]["value"]) == (1, 1.0)


def test_a_person_counts_once_per_comparison_and_skips_are_no_votes() -> None:
    found = study(list(votes([pair("a", annotator="p"), pair("b", annotator="p"), pair("skip", annotator="q")])))
    human = found["by_kind"]["human"]
    assert (human["votes"], human["repeated_votes"], human["percent_agreement"]["n"]) == (2, 1, 0)


def test_kinds_are_studied_apart_and_against_each_other() -> None:
    """The judge agrees with the human majority on Q1 (a, a, b against a) and not on Q2."""
    records = [
        *(pair(side, prompt="Q1", annotator=who) for side, who in (("a", "p"), ("a", "q"), ("b", "r"))),
        pair("a", prompt="Q2", annotator="p"),
        pair("a", prompt="Q1", annotator="j", kind="llm"),
        pair("b", prompt="Q2", annotator="j", kind="llm"),
    ]
    found = study(list(votes(records)))
    assert {kind: row["votes"] for kind, row in found["by_kind"].items()} == {"human": 4, "llm": 2}
    assert found["between_kinds"]["human and llm"]["value"] == 0.5


def test_another_context_is_another_comparison() -> None:
    """The same pair may be judged opposite ways under two criteria (FMT-15)."""
    under = [pair("a"), pair("b", annotator="q")]
    under[1]["context"] = {"criterion": "brevity"}
    assert study(list(votes(under)))["by_kind"]["human"]["comparisons"] == 2

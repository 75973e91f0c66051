"""Two-order judging: EVAL-03's rules on judges of which everything is known."""

from __future__ import annotations

import pytest

from components.judges import PairItem, Verdict, combine, judge_both_orders, judge_stats
from tests.components.judges.stubs import StubJudge, always_first, coin, items, longer

RULES = ("mean_p", "conservative", "net")


@pytest.mark.parametrize("rule", RULES)
def test_a_judge_that_always_says_first_decides_nothing(rule):
    results = judge_both_orders(StubJudge(always_first), items(10), rule)
    assert {(r.p_a, r.outcome, r.consistent) for r in results} == {(0.5, "tie", False)}
    stats = judge_stats(results)
    assert (stats.position_consistency, stats.first_position_rate) == (0.0, 1.0)


@pytest.mark.parametrize("rule", RULES)
def test_a_judge_that_always_says_second_has_first_position_rate_zero(rule):
    stats = judge_stats(judge_both_orders(StubJudge(lambda item: "b"), items(10), rule))
    assert (stats.position_consistency, stats.first_position_rate) == (0.0, 0.0)


@pytest.mark.parametrize("rule", RULES)
def test_an_oracle_is_right_on_every_pair_and_consistent(rule):
    pairs = items(20)
    results = judge_both_orders(StubJudge(longer), pairs, rule)
    assert [r.outcome for r in results] == [longer(item) for item in pairs]
    assert {r.p_a for r in results} == {0.0, 1.0}
    assert judge_stats(results).position_consistency == 1.0
    assert judge_stats(results).first_position_rate is None  # nothing inconsistent: no rate, not zero


@pytest.mark.parametrize("rule", RULES)
def test_a_random_judge_wins_half(rule):
    """n = 2000, p_a in {0, 1/2, 1} with variance at most 1/4: 4 standard errors = 4 * 0.5 / sqrt(2000) < 0.045."""
    results = judge_both_orders(StubJudge(coin), items(2000), rule)
    assert sum(r.p_a for r in results) / 2000 == pytest.approx(0.5, abs=0.045)
    assert judge_stats(results).position_consistency == pytest.approx(0.5, abs=0.045)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("decide", [always_first, longer, coin])
def test_exchanging_the_labels_gives_exactly_one_minus_p(rule, decide):
    pairs = items(200)
    there = judge_both_orders(StubJudge(decide), pairs, rule)
    back = judge_both_orders(StubJudge(decide), [item.swapped() for item in pairs], rule)
    assert [r.p_a for r in there] == [1 - r.p_a for r in back]


def test_identical_completions_are_a_tie_without_a_question():
    judge = StubJudge(always_first)
    same = PairItem("s", [{"role": "user", "content": "x"}], "text", "text")
    same_result, other = judge_both_orders(judge, [same, items(1)[0]])
    assert judge.questions == 2  # both orders of the other pair
    assert (same_result.p_a, same_result.outcome, same_result.consistent) == (0.5, "tie", None)
    stats = judge_stats([same_result, other])
    assert (stats.n_pairs, stats.n_identical, stats.n_asked, stats.position_consistency) == (2, 1, 1, 0.0)


# first, second (both about the pair's own a and b) -> p_a by mean_p, conservative, net
TABLE = [
    ("a", "a", 1.0, 1.0, 1.0),
    ("b", "b", 0.0, 0.0, 0.0),
    ("tie", "tie", 0.5, 0.5, 0.5),
    ("a", "b", 0.5, 0.5, 0.5),
    ("b", "a", 0.5, 0.5, 0.5),
    ("a", "tie", 0.75, 0.5, 1.0),
    ("tie", "b", 0.25, 0.5, 0.0),
    ("a", None, None, None, 1.0),
    (None, "b", None, None, 0.0),
    ("tie", None, None, None, 0.5),
    (None, None, None, None, None),
]


@pytest.mark.parametrize(("first", "second", "mean_p", "conservative", "net"), TABLE)
def test_the_combination_rules(first, second, mean_p, conservative, net):
    expected = {"mean_p": mean_p, "conservative": conservative, "net": net}
    for rule, p_a in expected.items():
        result = combine(Verdict(first), Verdict(second), rule)
        assert result.p_a == p_a
        assert result.outcome == (None if p_a is None else "a" if p_a > 0.5 else "b" if p_a < 0.5 else "tie")
        assert result.consistent == (None if None in (first, second) else first == second)


@pytest.mark.parametrize("rule", ["mean_p", "conservative"])
def test_no_verdict_in_one_order_excludes_the_pair_and_counts(rule):
    """The judge fails on pair 0 when its `a` comes first: 1 of 2 * 4 questions, 1 of 4 pairs."""
    pairs = items(4)
    judge = StubJudge(lambda item: None if item.a == pairs[0].a else longer(item))
    results = judge_both_orders(judge, pairs, rule)
    stats = judge_stats(results)
    assert [r.outcome is None for r in results] == [True, False, False, False]
    assert (stats.n_excluded, stats.n_null, stats.parse_failure_rate) == (1, 1, 1 / 8)
    assert stats.position_consistency == 1.0  # of the three pairs with two verdicts


@pytest.mark.parametrize(
    ("first", "second", "favours_first"),
    [
        ("a", "b", True),
        ("b", "a", False),
        ("a", "tie", True),
        ("tie", "b", True),
        ("b", "tie", False),
        ("tie", "a", False),
    ],
)
def test_every_inconsistent_pair_leans_to_a_position(first, second, favours_first):
    """`second` is the verdict with b shown first: 'b' there means that the first position won."""
    assert combine(Verdict(first), Verdict(second), "mean_p").favours_first is favours_first


def test_stats_of_nothing_have_no_rates():
    stats = judge_stats([])
    assert (stats.position_consistency, stats.first_position_rate, stats.parse_failure_rate) == (None, None, None)
    assert "position_consistency" not in stats.as_metrics()
    assert stats.as_metrics()["n_pairs"] == 0


def test_rates_carry_n_and_an_interval():
    """Wilson at 0 of 10: low 0, high = z^2 / (10 + z^2) with z^2 = 1.96^2 = 3.8415, so 3.8415 / 13.8415 = 0.2775."""
    metric = judge_stats(judge_both_orders(StubJudge(always_first), items(10))).as_metrics()["position_consistency"]
    assert (metric["value"], metric["n"], metric["ci_low"]) == (0.0, 10, 0.0)
    assert metric["ci_high"] == pytest.approx(0.2775, abs=1e-4)


def test_results_do_not_depend_on_the_order_of_the_items():
    pairs = items(30)
    there = judge_both_orders(StubJudge(coin), pairs)
    back = judge_both_orders(StubJudge(coin), pairs[::-1])
    assert there == back[::-1]

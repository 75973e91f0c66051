"""The simulated judge: an oracle, blurred by noise and position bias on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.errors import RecordError
from components.judges import JudgeParams, PairItem, judge_both_orders, judge_stats, make_judge

PROMPT = "Name 3 fruits. Only the words."
GOOD, BAD = "apple, pear, plum.", "owl"


def item(i: int = 0) -> PairItem:
    return PairItem(str(i), [{"role": "user", "content": PROMPT}], GOOD, BAD + "!" * i)


def test_without_noise_it_is_an_oracle(tmp_path):
    result = judge_both_orders(make_judge(JudgeParams(), tmp_path), [item()])[0]
    assert (result.p_a, result.consistent) == (1.0, True)


def test_a_large_position_bias_makes_it_inconsistent_towards_the_first(tmp_path):
    judge = make_judge(JudgeParams(position_bias=100.0), tmp_path)
    stats = judge_stats(judge_both_orders(judge, [item(i) for i in range(5)]))
    assert (stats.consistency, stats.first_position_rate) == (0.0, 1.0)


def test_noise_is_a_function_of_the_seed_and_the_question_only(tmp_path):
    pairs = [item(i) for i in range(50)]
    judged = [
        [verdict.outcome for verdict in make_judge(JudgeParams(noise=5.0, seed=seed), tmp_path).judge(shown)]
        for seed, shown in [(0, pairs), (0, pairs[::-1]), (1, pairs)]
    ]
    assert judged[0] == judged[1][::-1]
    assert judged[0] != judged[2]
    assert {"a", "b"} <= set(judged[0])


def test_a_prompt_of_another_world_is_an_error_not_a_verdict(tmp_path):
    foreign = PairItem("f", [{"role": "user", "content": "Why is the sky blue?"}], "x", "y")
    with pytest.raises(RecordError):
        make_judge(JudgeParams(), tmp_path).judge([foreign])


def test_it_says_that_it_is_simulated(tmp_path: Path):
    annotator = make_judge(JudgeParams(), tmp_path).annotator(item())
    assert annotator["kind"] == "simulated"
    assert annotator["revision"]
    assert annotator["instructions_rev"]

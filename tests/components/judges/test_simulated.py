"""The simulated judge: an oracle, blurred by noise and position bias on purpose."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from components.errors import ParamsError, RecordError
from components.judges import PairItem, TextItem, judge_both_orders, judge_stats, open_judge
from components.judges.contracts.pair_verdict import PairVerdict
from components.judges.contracts.rubric_grade import RubricGrade
from components.judges.kinds import Simulated
from components.judges.table import PROMPT_CONTRACTS

PROMPT = "Name 3 fruits. Only the words."
GOOD, BAD = "apple, pear, plum.", "owl"


def item(i: int = 0) -> PairItem:
    return PairItem(str(i), [{"role": "user", "content": PROMPT}], GOOD, BAD + "!" * i)


def test_without_noise_it_is_an_oracle(tmp_path):
    result = judge_both_orders(open_judge(Simulated(), PairVerdict(), tmp_path), [item()])[0]
    assert (result.p_a, result.consistent) == (1.0, True)


def test_a_large_position_bias_makes_it_inconsistent_towards_the_first(tmp_path):
    judge = open_judge(Simulated(position_bias=100.0), PairVerdict(), tmp_path)
    stats = judge_stats(judge_both_orders(judge, [item(i) for i in range(5)]))
    assert (stats.position_consistency, stats.first_position_rate) == (0.0, 1.0)


def test_noise_is_a_function_of_the_seed_and_the_question_only(tmp_path):
    pairs = [item(i) for i in range(50)]
    judged = [
        [
            verdict.value
            for verdict in open_judge(Simulated(noise=5.0, seed=seed), PairVerdict(), tmp_path).answer(shown)
        ]
        for seed, shown in [(0, pairs), (0, pairs[::-1]), (1, pairs)]
    ]
    assert judged[0] == judged[1][::-1]
    assert judged[0] != judged[2]
    assert {"a", "b"} <= set(judged[0])


def test_a_prompt_of_another_world_is_an_error_not_a_verdict(tmp_path):
    foreign = PairItem("f", [{"role": "user", "content": "Why is the sky blue?"}], "x", "y")
    with pytest.raises(RecordError):
        open_judge(Simulated(), PairVerdict(), tmp_path).answer([foreign])


def test_it_says_that_it_is_simulated(tmp_path: Path):
    annotator = open_judge(Simulated(), PairVerdict(), tmp_path).annotator(item())
    assert annotator["kind"] == "simulated"
    assert annotator["revision"]
    assert annotator["instructions_rev"]


def test_grades_follow_the_utility_from_one_end_of_the_scale_to_the_other(tmp_path):
    """Faultless: utility 3, so 5. A stranger without a full stop: -0.75 - 0.75 - 3 (no word of this world), so 1.

    Two of three fruits: 3 * 2/3 = 2, so 1 + 4 * 2/3 = 3.67, rounded 4.
    """
    messages = [{"role": "user", "content": PROMPT}]
    judge = open_judge(Simulated(), RubricGrade(), tmp_path)
    texts = [GOOD, "xyzzy", "apple, pear."]
    assert [reply.value for reply in judge.answer([TextItem("k", messages, text) for text in texts])] == [5, 1, 4]


def test_a_kind_of_answer_that_the_truth_does_not_give_is_refused(tmp_path, monkeypatch):
    rows = dict(PROMPT_CONTRACTS.rows)
    rows["rubric_grade"] = replace(rows["rubric_grade"], facts={"item": "completion", "answer": "checklist"})
    monkeypatch.setitem(vars(PROMPT_CONTRACTS), "rows", rows)
    with pytest.raises(ParamsError, match=r"gives a verdict or a grade .*rubric_grade@1.* checklist"):
        open_judge(Simulated(), RubricGrade(), tmp_path)

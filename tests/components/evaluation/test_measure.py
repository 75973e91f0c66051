"""From scores to the table of metrics."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.evaluation import measure
from components.evaluation.measure import Table
from components.evaluation.scorers import Rewards
from components.judges import PairResult, Verdict
from components.statistics.intervals import Bootstrap
from tests.components.evaluation.world import fake_evidence

BOOT = Bootstrap(resamples=100, seed=0)


def test_equal_rewards_are_wrong_by_one_convention_and_half_right_by_the_other() -> None:
    """Right, wrong, equal, equal: 1/4 strictly, (1 + 2 * 0.5) / 4 with ties as halves."""
    test = fake_evidence(n=4, scored=False).test
    table = Table()
    measure.measure_reward_model(table, test, Rewards([2, 0, 1, 5], [1, 3, 1, 5], {}), BOOT)
    assert table.metrics["reward_model.accuracy"]["value"] == 0.25
    assert table.metrics["reward_model.accuracy_tie_half"]["value"] == 0.5


def test_slices_by_length_tell_a_length_lover() -> None:
    """Every chosen text is one "!" longer than written, so slices by length hold all comparisons between them."""
    evidence = fake_evidence(n=20)
    assert evidence.rewards is not None
    longer = [float(len(c.chosen)) for c in evidence.test.comparisons]
    shorter = [float(len(c.rejected)) for c in evidence.test.comparisons]
    table = Table()
    measure.measure_reward_model(table, evidence.test, replace(evidence.rewards, chosen=longer, rejected=shorter), BOOT)
    rows = {row["group"]: row for row in table.slices if row["dimension"] == "length"}
    assert rows["chosen longer"]["value"] == 1.0
    assert rows["chosen shorter"]["value"] == 0.0
    assert sum(row["n"] for row in rows.values()) == 20


def test_without_comparisons_scorers_are_missing_with_a_reason() -> None:
    evidence = fake_evidence(n=3)
    assert evidence.rewards is not None
    empty = replace(evidence.test, comparisons=[], keys=[])
    table = Table()
    measure.measure_baselines(table, empty, BOOT)
    measure.measure_ranking(table, empty, evidence.systems, BOOT)
    measure.measure_reward_model(table, empty, replace(evidence.rewards, chosen=[], rejected=[]), BOOT)
    assert table.metrics == {}
    assert set(table.missing) == {"ranking.accuracy", "reward_model.accuracy"}


def test_judge_health_by_hand() -> None:
    """Consistent; inconsistent toward the first shown; no verdict in one order; identical (never asked)."""
    a, b, none = Verdict("a"), Verdict("b"), Verdict(None)
    results = [
        PairResult(1.0, "a", True, a, a),
        PairResult(0.5, "tie", False, a, b),
        PairResult(None, None, None, a, none),
        PairResult(0.5, "tie", None, Verdict("tie"), Verdict("tie"), identical=True),
    ]
    evidence = fake_evidence(n=4)
    assert evidence.judged is not None
    table = Table()
    judged = replace(evidence.judged, results={"reference": results})
    measure.measure_judge(table, evidence.test, judged, evidence.systems, BOOT)
    got = {name: (row["value"], row["n"]) for name, row in table.metrics.items() if name != "judge.prefers_longer"}
    assert got == {
        "judge.position_consistency": (0.5, 2),
        "judge.first_position_rate": (1.0, 1),
        "judge.parse_failure_rate": (pytest.approx(1 / 6), 6),
    }


def test_a_reward_that_is_length_correlates_fully() -> None:
    evidence = fake_evidence(n=20)
    assert evidence.rewards is not None
    by_length = {name: [2.0 * len(text) + 1 for text in system.texts] for name, system in evidence.systems.items()}
    row = measure.length_correlation(replace(evidence.rewards, answers=by_length), evidence.systems, BOOT)
    assert row is not None
    assert row["value"] == pytest.approx(1.0)
    flat = {name: [1.0] * 20 for name in evidence.systems}
    assert measure.length_correlation(replace(evidence.rewards, answers=flat), evidence.systems, BOOT) is None

"""The numbers of the report, worked out by hand on four comparisons."""

from __future__ import annotations

import math

import numpy as np
import pytest

from components.records import Comparison
from components.reward_modeling.report import Preferences, quality, reward_moments, training_metrics


def comparison(i: int, chosen: str, rejected: str, source: str = "x", annotator: str = "human") -> Comparison:
    message = {"role": "user", "content": f"prompt {i}"}
    return Comparison((message,), chosen, rejected, 1.0, 0.0, 0.0, 1.0, str(i), str(i), source, annotator, False)


ITEMS = [
    comparison(0, "good long", "bad"),
    comparison(1, "good", "bad long", "y"),
    comparison(2, "good long", "bad", "y", "llm"),
    comparison(3, "goo", "bad", "y", "llm"),
]
CHOSEN, REJECTED = np.array([2.0, 1.0, 0.0, 1.0]), np.array([1.0, 2.0, 0.0, 0.0])  # right, wrong, tie, right
FOUND = Preferences(CHOSEN - REJECTED, CHOSEN, REJECTED)


def test_accuracy_by_both_conventions_beside_the_baselines() -> None:
    found = quality(ITEMS, FOUND, ITEMS)
    assert found["n"] == 4
    assert found["accuracy_strict"]["value"] == 2 / 4
    assert found["accuracy_tie_half"]["value"] == 2.5 / 4
    assert found["score_ties"] == 1
    assert found["length_baseline"]["value"] == 2.5 / 4  # right, wrong, right, equal
    assert found["length_baseline"]["n"] == found["bag_of_words_baseline"]["n"] == 4


def test_the_worst_source_is_one_of_those_that_say_enough() -> None:
    """Of x (30 right) and y (30, half right) and z (29, all wrong) it is y: 29 comparisons decide nothing."""
    rows = [("x", 1.0)] * 30 + [("y", 1.0)] * 15 + [("y", -1.0)] * 15 + [("z", -1.0)] * 29
    items = [comparison(i, "good", "bad", source) for i, (source, _) in enumerate(rows)]
    logits = np.array([logit for _, logit in rows])
    found = quality(items, Preferences(logits, logits, np.zeros(len(rows))), items)
    assert found["accuracy_tie_half/source=z"]["value"] == 0.0
    assert (found["accuracy_tie_half/worst_source"]["value"], found["accuracy_tie_half/worst_source"]["n"]) == (0.5, 30)


def test_slices_by_source_annotator_and_length() -> None:
    found = quality(ITEMS, FOUND, ITEMS)
    values = {key.removeprefix("accuracy_tie_half/"): e["value"] for key, e in found.items() if "tie_half/" in key}
    assert values == {
        "source=x": 1.0,
        "source=y": 0.5,
        "annotator=human": 0.5,
        "annotator=llm": 0.75,
        "chosen_is=longer": 0.75,
        "chosen_is=shorter": 0.0,
        "chosen_is=equally_long": 1.0,
    }


def test_loss_calibration_and_margin() -> None:
    """Margins [1, -1, 0, 1]: mean .25; softplus(-m) = [.313262, 1.313262, .693147, .313262], mean .658233."""
    found = quality(ITEMS, FOUND, ITEMS)
    assert found["margin"]["value"] == 0.25
    assert found["nll"] == pytest.approx(0.658233, abs=1e-6)
    # p = sigmoid(m) = [.731, .269, .5, .731]: bin (.7, .8] holds .731 x 3 (one is the mirror of the wrong pair) with
    # labels 1, 1, 0, its mirror the same, and .5 x 2 is right: 6/8 * |2/3 - .731059|
    assert found["ece"] == pytest.approx(6 / 8 * abs(2 / 3 - 0.7310586), abs=1e-6)
    assert found["brier"] == pytest.approx((2 * 0.268941**2 + 0.731059**2 + 0.25) / 4, abs=1e-5)


def test_a_reward_that_is_the_length_shows() -> None:
    lengths = [np.array([float(len(getattr(item, side))) for item in ITEMS]) for side in ("chosen", "rejected")]
    found = quality(ITEMS, Preferences(lengths[0] - lengths[1], *lengths), ITEMS)
    assert found["length_correlation"] == pytest.approx(1.0)
    assert found["length_correlation_within_pairs"] == pytest.approx(1.0)
    constant = quality(ITEMS, Preferences(np.zeros(4), np.ones(4), np.ones(4)), ITEMS)
    assert "length_correlation" not in constant


def test_the_order_of_the_rows_does_not_matter() -> None:
    order = [2, 0, 3, 1]
    there = quality(ITEMS, FOUND, ITEMS)
    turned = Preferences(FOUND.logits[order], CHOSEN[order], REJECTED[order])
    back = quality([ITEMS[i] for i in order], turned, ITEMS)
    assert set(back) == set(there)
    assert all(back[name] == pytest.approx(there[name]) for name in there)


def test_an_empty_split_reports_that_it_is_empty() -> None:
    assert quality([], Preferences(np.zeros(0)), ITEMS) == {"n": 0}


def test_the_training_log_has_trl_names() -> None:
    found = training_metrics({"chosen_scores": CHOSEN, "rejected_scores": REJECTED, "loss": CHOSEN})
    assert found == {"min_reward": 0.0, "mean_reward": 7 / 8, "max_reward": 2.0, "accuracy": 0.5, "margin": 0.25}


def test_a_kind_without_scores_reports_all_but_those() -> None:
    found, scored = quality(ITEMS, Preferences(FOUND.logits), ITEMS), quality(ITEMS, FOUND, ITEMS)
    assert scored.keys() - found.keys() == {"length_correlation"}
    assert found == {name: scored[name] for name in found}
    assert training_metrics({"pair_logits": CHOSEN - REJECTED, "loss": CHOSEN}) == {"accuracy": 0.5, "margin": 0.25}
    assert reward_moments(Preferences(FOUND.logits)) == {}


def test_moments_are_over_both_sides() -> None:
    found = reward_moments(Preferences(np.array([1.0, 3.0]), np.array([1.0, 3.0]), np.array([0.0, 0.0])))
    assert found == {"mean": 1.0, "std": pytest.approx(math.sqrt(1.5)), "n": 4}

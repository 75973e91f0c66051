"""One accuracy has one interval, wherever it is printed (the reward model's card, the report)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from components.contract.params import build
from components.evaluation.params import Params
from components.measures.table import everything
from components.measures.take import take
from components.reward_modeling.report import Preferences, quality
from tests.components.evaluation.world import World, evidence, number


def test_the_card_and_the_report_print_the_same_numbers(tmp_path: Path) -> None:
    """The same comparisons and scores, by the defaults of both: accuracies and baselines are equal to the last bit."""
    world, defaults = World(tmp_path / "world", n_test=40), build(Params, {}, "params")
    found = evidence(world.ports, resamples=defaults.resamples, seed=defaults.seed)
    report = take(found, everything()).metrics
    decided = found.test.decided
    scores = [np.array([number("reward", getattr(c, side)) for c in decided.items]) for side in ("chosen", "rejected")]
    card = quality(list(decided.items), Preferences(scores[0] - scores[1], *scores), list(found.test.train))
    assert report["reward_model.accuracy"] == card["accuracy_strict"]
    assert report["reward_model.accuracy_tie_half"] == card["accuracy_tie_half"]
    assert report["baseline.length.accuracy"] == card["length_baseline"]
    assert report["baseline.bag_of_words.accuracy"] == card["bag_of_words_baseline"]
    assert report["reward_model.accuracy"]["ci_low"] is not None

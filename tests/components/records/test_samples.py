"""Samples: read strictly, paired evenly, nothing left out unseen."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest

from components.errors import ArtifactError, RecordError
from components.records.samples import pair_across, pair_up, read_samples, schedule
from tests.components.samples_artifact import write_samples


@pytest.mark.parametrize("n", range(9))
def test_the_schedule_plays_every_pair_once_and_nobody_twice_in_a_round(n):
    games = schedule(n)
    assert sorted(games) == list(combinations(range(n), 2))
    for start in range(0, len(games), max(n // 2, 1)):  # n // 2 games a round
        players = Counter(player for game in games[start : start + n // 2] for player in game)
        assert set(players.values()) <= {1}


def test_pairs_are_taken_per_prompt_and_what_is_left_out_is_counted(tmp_path: Path):
    folder = write_samples(tmp_path, {"p": ["x", "y", "z"], "same": ["x", "x"], "single": ["x"], "blank": ["x", " \n"]})
    pairing = pair_up(read_samples(folder), 2)
    assert [(pair.a.sample, pair.b.sample) for pair in pairing.pairs] == [(1, 2), (0, 2)]
    assert pairing.counts() == {"n_prompts": 4, "n_prompts_single": 1, "n_pairs": 2, "n_identical": 1}
    row = pairing.quarantine[0]
    assert (row["file"], row["line"], row["rule"]) == ("samples.jsonl", 7, "candidate_not_empty")
    assert json.loads(row["raw"]) == {"a": "x", "b": " \n"}


def test_pairs_across_two_artifacts_are_the_first_samples_of_the_same_prompts(tmp_path: Path):
    """In the order of ours; a blank one and identical ones are put forward too, since each prompt decides something."""
    ours = read_samples(write_samples(tmp_path / "ours", {"p": ["x", "y"], "same": ["x"], "blank": [" "]}))
    theirs = read_samples(write_samples(tmp_path / "theirs", {"blank": ["x"], "same": ["x"], "p": ["z", "x"]}))
    pairing = pair_across(ours, theirs, "here")
    assert [(pair.a.completion, pair.b.completion) for pair in pairing.forward] == [("x", "z"), ("x", "x"), (" ", "x")]
    assert pairing.counts() == {"n_prompts": 3, "n_prompts_single": 0, "n_pairs": 2, "n_identical": 1}
    with pytest.raises(ArtifactError, match=r"here: answers other prompts than the samples \(got 1 in one"):
        pair_across(ours, [sample for sample in theirs if sample.completion != "z"], "here")


def test_the_order_of_the_lines_of_a_prompt_does_not_matter(tmp_path: Path):
    samples = read_samples(write_samples(tmp_path, {"p": ["x", "y", "z"]}))
    keys = [[pair.key for pair in pair_up(order, 3).pairs] for order in (samples, samples[::-1])]
    assert keys[0] == keys[1]


def test_a_bad_line_is_named(tmp_path: Path):
    folder = write_samples(tmp_path, {"p": ["x", "y"]})
    file = folder / "samples.jsonl"
    file.write_text(file.read_text().replace('"finish"', '"end"', 2).replace('"end"', '"finish"', 1))
    with pytest.raises(RecordError, match=r"samples.jsonl:2: not a sample .*finish"):
        read_samples(folder)

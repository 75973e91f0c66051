"""Exact duplicates are dropped and counted, near ones only counted, bad records quarantined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.contract import Input
from components.feedback_curation.collect import collect, near_identical, normal
from components.records import record_id
from components.records.feedback import write_feedback
from tests.components.records.samples import JUDGMENTS, pair, record


def feedback(folder: Path, records: list[dict[str, Any]], quarantine: list[dict[str, Any]] | None = None) -> Input:
    folder.mkdir()
    write_feedback(folder, records, quarantine or [])
    return Input("feedback", "feedback", folder, f"{folder.name:0<32}.dir")


def test_every_record_is_kept_or_accounted_for(tmp_path: Path) -> None:
    good = [pair("a"), pair("a", annotator="q"), pair("b"), pair("a", prompt="Other?")]
    again = pair("a")
    again["provenance"]["source"] = "copy"
    again["record_id"] = record_id(again)
    broken = pair("a", prompt="Third?")
    broken["provenance"]["license"] = ""
    one = feedback(tmp_path / "one", good, [{"rule": "json", "reason": "x"}])
    two = feedback(tmp_path / "two", [again, broken])
    found = collect([one, two], ())
    assert (found.n_read, len(found.records), found.n_duplicates, len(found.quarantine)) == (6, 4, 1, 1)
    assert found.n_read == len(found.records) + found.n_duplicates + len(found.quarantine)
    (row,) = found.quarantine
    assert (row["file"], row["line"], row["rule"]) == ("two00000/records.jsonl", 2, "source_and_licence_given")
    assert found.imported == [{"rule": "json", "reason": "x"}]


def test_the_largest_set_comes_first_then_the_source_decides(tmp_path: Path) -> None:
    """Never the content id, which the run that made a set is part of: it would shuffle what is trained on."""
    large = feedback(tmp_path / "z", [pair("a"), pair("b")])
    first, second = pair("a", prompt="One?"), pair("a", prompt="Two?")
    first["provenance"]["source"], second["provenance"]["source"] = "a", "b"
    small = [feedback(tmp_path / "y", [first]), feedback(tmp_path / "x", [second])]
    for sets in ([*small, large], [large, *reversed(small)]):
        found = [record["provenance"]["source"] for record in collect(sets, ()).records]
        assert found[2:] == ["a", "b"]


def test_another_annotator_or_verdict_is_no_duplicate(tmp_path: Path) -> None:
    records = [pair("a"), pair("b"), pair("a", annotator="q"), pair("a", texts=("Blue", "Eight"))]
    assert collect([feedback(tmp_path / "x", records)], ()).n_duplicates == 0


def test_span_labels_are_checked_where_declared(tmp_path: Path) -> None:
    source = feedback(tmp_path / "x", [record(JUDGMENTS["span"])])
    assert len(collect([source], ()).records) == 1
    assert [row["rule"] for row in collect([source], ("rude",)).quarantine] == ["span_labels_declared"]


def test_near_identical_texts_are_counted_by_what_they_share() -> None:
    assert normal("  Ｈello,\n WORLD_!") == normal("hello world") == "hello world"
    splits = {
        "train": [pair(prompt="What is red?"), pair(prompt="what is RED"), pair(prompt="Else", texts=("Yes.", "yes"))],
        "test": [pair(prompt="What is Red??"), pair(prompt="New")],
    }
    assert near_identical(splits) == {"comparisons": 2, "candidates": 1, "prompts_across_splits": 1}

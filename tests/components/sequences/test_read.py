"""What is dropped is counted, what curation should have caught is an error that names the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.errors import RecordError
from components.records import make_record, simple_task, text_candidate, write_records
from components.sequences import VIEWS, Example, Sequence, read_examples
from components.sequences.read import keeps_ties
from tests.components.policy_optimization.helpers import pair_record
from tests.tiny import tiny_tokenizer


def read(tmp_path: Path, records: list[dict[str, Any]], **options: Any) -> Any:
    write_records(tmp_path / "train.jsonl", records)
    tokenizer = options.pop("tokenizer", tiny_tokenizer())
    return read_examples(
        tmp_path / "train.jsonl", tokenizer, **{"view": "pair", "keep_ties": False, "max_length": 64, **options}
    )


def texts(example: Example) -> list[str]:
    return [tiny_tokenizer().decode(sequence.completion_ids) for sequence in example.sequences]


def ranking(*tiers: list[str]) -> dict[str, Any]:
    """Candidates are named by their texts."""
    return make_record(
        task=simple_task("rank?"),
        candidates=[text_candidate(text, text) for tier in tiers for text in tier],
        judgments=[{"type": "ranking", "tiers": list(tiers), "complete": True}],
        annotator={"id": "t", "kind": "human"},
        provenance={"source": "test"},
    )


RECORDS = [
    pair_record("one?", "yes", "no"),
    pair_record("two?", "yes", "no", "b", p_a=0.2, strength=2.0, strength_scale=[0, 4]),
    pair_record("three?", "yes", "no", "tie"),
    pair_record("four?", "same", "same"),
    pair_record("five?", "", "no"),
]


def test_pairs_are_oriented_and_ties_identical_and_empty_ones_dropped_and_counted(tmp_path: Path) -> None:
    found = read(tmp_path, RECORDS)
    assert [texts(example) for example in found.items] == [["yes<eos>", "no<eos>"], ["no<eos>", "yes<eos>"]]
    assert found.items[1].given == {"preference_probability": 0.8, "margin": 0.5}  # P(chosen) = 1 - 0.2; 2 of 4
    assert found.origins[1].strength == 2.0
    assert found.dropped == {"ties": 1, "identical": 1, "empty": 1}
    assert [sequence.role for sequence in found.items[0].sequences] == ["chosen", "rejected"]


def test_an_objective_over_probabilities_keeps_ties(tmp_path: Path) -> None:
    assert keeps_ties("pair", ("chosen_logps", "preference_probability"))
    assert not keeps_ties("pair", ("chosen_logps",))
    assert not keeps_ties("unpaired", ("completion_logps", "desirable"))
    found = read(tmp_path, RECORDS, keep_ties=True)
    assert [example.given["preference_probability"] for example in found.items] == [1.0, 0.8, 0.5]
    assert found.dropped["ties"] == 0


def test_pairs_give_labelled_completions_and_demonstrations(tmp_path: Path) -> None:
    labelled = read(tmp_path, RECORDS[:2], view="unpaired")
    assert [example.given for example in labelled.items] == [{"desirable": 1.0}, {"desirable": 0.0}] * 2
    demonstrations = read(tmp_path, RECORDS[:3], view="demonstration")
    assert [texts(example) for example in demonstrations.items] == [["yes<eos>"], ["no<eos>"]]
    assert demonstrations.dropped == {"tie": 1}


def test_rankings_of_any_length_and_pairs_are_lists(tmp_path: Path) -> None:
    found = read(tmp_path, [ranking(["no"], ["yes", "dog"], ["fox"]), RECORDS[1]], view="list")
    assert [texts(example) for example in found.items] == [
        ["no<eos>", "yes<eos>", "dog<eos>", "fox<eos>"],
        ["no<eos>", "yes<eos>"],
    ]
    assert [[sequence.given["tiers"] for sequence in example.sequences] for example in found.items] == [
        [0.0, 1.0, 1.0, 2.0],
        [0.0, 1.0],
    ]
    assert {sequence.role for example in found.items for sequence in example.sequences} == {"listed"}


def test_a_prompt_is_kept_once_and_grouped(tmp_path: Path) -> None:
    example = read(tmp_path, [ranking(["no"], ["yes"], ["fox"])], view="list").items[0]
    assert len({id(sequence.prompt_ids) for sequence in example.sequences}) == 1
    assert [len(group) for group in example.by_prompt()] == [3]


def test_rows_that_are_too_long_are_an_error_never_cut(tmp_path: Path) -> None:
    records = [*RECORDS[:1], pair_record("long?", "dog " * 80, "no")]
    with pytest.raises(RecordError, match=rf"1 too long \(first: record {records[1]['record_id']}\)"):
        read(tmp_path, records)


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ m['content'] }}|{% endfor %}", "double bos"),
        ("{% for m in messages %}{{ m['content'] }}{{ m['content'] }}|{% endfor %}", "written twice"),
        ("{% for m in messages %}{{ m['content'][1:] }}|{% endfor %}", "left out"),
        (
            "{% if add_generation_prompt %}?{% endif %}{% for m in messages %}{{ m['content'] }}|{% endfor %}",
            "prefix broken",
        ),
    ],
)
def test_a_dataset_that_was_curated_for_another_template_is_refused(tmp_path: Path, template: str, rule: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(RecordError, match=rf"1 .*{rule}.*Curate the feedback with this policy"):
        read(tmp_path, RECORDS[:1], tokenizer=tokenizer)


def test_every_view_says_its_roles_and_gives_numbers_of_known_kinds() -> None:
    for row in VIEWS:
        assert set(row.facts["roles"].values()) <= {"one", "many"}
        assert row.facts["ties"] in ("", *row.facts["given"])


def test_spans_say_which_tokens_count_and_are_part_of_the_name() -> None:
    whole, part = Sequence([1, 2], [5, 6, 7, 8]), Sequence([1, 2], [5, 6, 7, 8], spans=((0, 1), (2, 4)))
    assert whole.counted == [0, 1, 2, 3]
    assert part.counted == [0, 2, 3]
    assert whole.key != part.key


def test_the_border_between_prompt_and_completion_is_part_of_the_name() -> None:
    assert Sequence([1, 2], [3]).key != Sequence([1], [2, 3]).key
    assert Sequence([1, 2], [3]).key == Sequence([1, 2], [3], role="chosen").key


def test_tokens_by_hand() -> None:
    """Prompt of 3 with completions of 2 and 4: 2 rows of 7 apart, 3 + 2 + 4 together; another prompt is not shared."""
    one = Example((Sequence([1, 2, 3], [4, 5]), Sequence([1, 2, 3], [6, 7, 8, 9])))
    other = Example((Sequence([1, 2, 3], [4, 5]), Sequence([1, 2], [6, 7, 8, 9])))
    assert (one.separate_tokens, one.shared_tokens) == (14, 9)
    assert (other.separate_tokens, other.shared_tokens) == (12, 11)

"""What is dropped is counted, what curation should have caught is an error that names the record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.errors import RecordError
from components.policy_optimization.data import read_examples
from components.records import write_records
from tests.components.policy_optimization.helpers import pair_record
from tests.tiny import tiny_tokenizer


def read(tmp_path: Path, records: list[dict[str, Any]], **options: Any) -> Any:
    write_records(tmp_path / "train.jsonl", records)
    tokenizer = options.pop("tokenizer", tiny_tokenizer())
    return read_examples(
        tmp_path / "train.jsonl", tokenizer, **{"family": "pair", "keep_ties": False, "max_length": 64, **options}
    )


RECORDS = [
    pair_record("one?", "yes", "no"),
    pair_record("two?", "yes", "no", "b", p_a=0.2, strength=2.0),
    pair_record("three?", "yes", "no", "tie"),
    pair_record("four?", "same", "same"),
    pair_record("five?", "", "no"),
]


def test_pairs_are_oriented_and_ties_identical_and_empty_ones_dropped_and_counted(tmp_path: Path) -> None:
    found = read(tmp_path, RECORDS)
    decode = tiny_tokenizer().decode
    assert [[decode(ids) for ids in e.completions] for e in found.items] == [
        ["yes<eos>", "no<eos>"],
        ["no<eos>", "yes<eos>"],
    ]
    assert found.items[1].given == {"preference_probability": 0.8, "margin": 2.0}  # P(chosen) = 1 - 0.2
    assert found.counts["data/ties"] == found.counts["data/identical"] == found.counts["data/empty"] == 1
    assert found.counts["data/examples"] == 2


def test_an_objective_over_probabilities_keeps_ties(tmp_path: Path) -> None:
    found = read(tmp_path, RECORDS, keep_ties=True)
    assert [e.given["preference_probability"] for e in found.items] == [1.0, 0.8, 0.5]
    assert found.counts["data/ties"] == 0


def test_pairs_give_labelled_completions_and_demonstrations(tmp_path: Path) -> None:
    labelled = read(tmp_path, RECORDS[:2], family="unpaired")
    assert [e.given for e in labelled.items] == [{"desirable": 1.0}, {"desirable": 0.0}] * 2
    demonstrations = read(tmp_path, RECORDS[:3], family="demonstration")
    assert [tiny_tokenizer().decode(e.completions[0]) for e in demonstrations.items] == ["yes<eos>", "no<eos>"]
    assert demonstrations.counts["data/tie"] + demonstrations.counts["data/ties"] == 1


def test_rows_that_are_too_long_are_an_error_never_cut(tmp_path: Path) -> None:
    records = [*RECORDS[:1], pair_record("long?", "dog " * 80, "no")]
    with pytest.raises(RecordError, match=rf"1 longer than max_length 64 \(first: record {records[1]['record_id']}\)"):
        read(tmp_path, records)


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{{ bos_token }}{{ bos_token }}{% for m in messages %}{{ m['content'] }}|{% endfor %}", "more than one BOS"),
        ("{% for m in messages %}{{ m['content'] }}{{ eos_token }}{{ eos_token }}{% endfor %}", "more than one EOS"),
        (
            "{% if add_generation_prompt %}?{% endif %}{% for m in messages %}{{ m['content'] }}|{% endfor %}",
            "not a prefix",
        ),
    ],
)
def test_a_dataset_that_was_curated_for_another_template_is_refused(tmp_path: Path, template: str, rule: str) -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(RecordError, match=rf"1 .*{rule}.*Curate the feedback with this policy"):
        read(tmp_path, RECORDS[:1], tokenizer=tokenizer)

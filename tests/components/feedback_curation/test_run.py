"""The whole step: feedback sets and a policy in, a data set with its card out, the same bytes every time."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from components.contract import Record, run_component
from components.errors import DataError, ParamsError
from components.feedback_curation.card import estimate_text, histogram, sample
from components.records import comparisons, read_records, shared_prompts, validate
from components.records.feedback import write_feedback
from tests.components.records.samples import pair, record
from tests.tiny import tiny_tokenizer

EVIL = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the step reads of a policy: tokenizer, template, config."""
    folder = tmp_path_factory.mktemp("policy")
    tiny_tokenizer().save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "max_position_embeddings": 128}))
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def feedback(folder: Path, records: list[dict[str, Any]]) -> Path:
    folder.mkdir(parents=True)
    row = {"file": "x.jsonl", "line": 1, "field": "", "rule": "json", "reason": f"x.jsonl:1: cut {EVIL}", "raw": ""}
    write_feedback(folder, records, [row])
    return folder


def panel(n: int = 60) -> list[dict[str, Any]]:
    """Three votes on each of n prompts, two of them for the first text; shown first is a, then b, then a."""
    out = []
    for i in range(n):
        for who, (outcome, order) in enumerate((("a", "ab"), ("a", "ba"), ("b", "ab"))):
            texts = (f"A dog {i}", f"No fox at all {i}")
            out.append(pair(outcome, prompt=f"Q {i}?", texts=texts, annotator=f"p{who}", shown_order=list(order)))
    return out


def run(tmp_path: Path, policy: Path, *sets: Path, **params: Any) -> tuple[Record, Path]:
    out = tmp_path / "out" / "dataset"
    raw = {"validation": 0.2, "test": 0.2, **params}
    return run_component("feedback_curation", raw, {"feedback": list(sets), "policy": [policy]}, {"dataset": out}), out


def read(out: Path) -> dict[str, list[dict[str, Any]]]:
    return {name: list(read_records(out / f"{name}.jsonl")) for name in ("train", "validation", "test")}


def test_votes_become_a_split_validated_data_set(tmp_path: Path, policy: Path) -> None:
    done, out = run(tmp_path, policy, feedback(tmp_path / "f", panel()))
    splits = read(out)
    assert sum(map(len, splits.values())) == 60
    assert all(splits.values())
    assert shared_prompts(splits) == []
    for name, records in splits.items():
        for each in records:
            validate(each)
            assert each["provenance"]["split"] == name
            assert len(each["provenance"]["parents"]) == 3
    items = comparisons(splits["train"]).items
    assert all(item.chosen.startswith("A dog") and item.probability == pytest.approx(0.6) for item in items)
    metrics = done.metrics
    assert (metrics["n_read"], metrics["n_records"], metrics["n_quarantined"], metrics["tie_share"]) == (
        180,
        60,
        0,
        0.0,
    )
    # every item is aab in canonical sides: 1 of 3 pairs agrees; first shown wins in the first vote alone
    assert metrics["percent_agreement/human"]["value"] == pytest.approx(1 / 3)
    assert metrics["first_shown_wins/human"]["value"] == pytest.approx(1 / 3)
    assert metrics["longer_wins/human"]["value"] == pytest.approx(1 / 3)
    assert metrics["agreement_with_others/human"]["value"] == pytest.approx(1 / 3)  # .5 + .5 + 0 over 3


def test_the_same_input_gives_the_same_bytes_in_any_order_of_the_sets(tmp_path: Path, policy: Path) -> None:
    """The card is one of the files, so it is reproducible too."""
    votes = panel()
    one, two = feedback(tmp_path / "1", votes[:90]), feedback(tmp_path / "2", votes[90:])
    first, _ = run(tmp_path / "a", policy, one, two)
    second, _ = run(tmp_path / "b", policy, two, one)
    assert first.identity == second.identity
    assert first.outputs == second.outputs


def test_records_that_break_a_rule_or_the_gate_are_quarantined_and_counted(tmp_path: Path, policy: Path) -> None:
    broken = pair("a", prompt="Bad?")
    broken["provenance"]["license"] = ""
    long = pair("a", prompt="Long?", texts=("fox " * 200, "A dog"))
    source = feedback(tmp_path / "f", [*panel(), broken, long])
    done, out = run(tmp_path, policy, source)
    rules = {row["rule"] for row in read_records(out / "quarantine.jsonl")}
    assert rules == {"source_and_licence_given", "too_long"}
    assert done.metrics["n_quarantined"] == 2
    summary = json.loads((out / "summary.json").read_text())
    assert sum(split["gated_out"].get("too_long", 0) for split in summary["splits"].values()) == 1
    assert summary["tokens"]["max_length"] == 128  # the model's own limit, below the parameter's 1024


def test_answers_longer_than_the_models_positions_are_a_mistake(tmp_path: Path, policy: Path) -> None:
    source = feedback(tmp_path / "f", panel())
    with pytest.raises(ParamsError, match=r"tokens.max_new_tokens: leaves no room .* 128 positions \(got 128\)"):
        run(tmp_path, policy, source, tokens={"max_new_tokens": 128})
    with pytest.raises(DataError, match=r"no_room_to_answer x \d+, .*lower max_new_tokens"):
        run(tmp_path, policy, source, tokens={"max_new_tokens": 127})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"max_bad_share": 0.01}, r"rules: 5 of 185 records are quarantined .*source_and_licence_given x 5"),
        ({"tokens": {"max_length": 16}}, r"token gate: 60 of 60 records are quarantined"),
        ({"tokens": {"max_length": 16, "truncation": "error"}}, r"60 records do not fit in max_length 16"),
    ],
)
def test_too_much_bad_data_fails_with_its_reasons(
    tmp_path: Path, policy: Path, params: dict[str, Any], message: str
) -> None:
    broken = [pair("a", prompt=f"Bad {i}?") for i in range(5)]
    for each in broken:
        each["provenance"]["license"] = ""
    with pytest.raises(DataError, match=message) as caught:
        run(tmp_path, policy, feedback(tmp_path / "f", [*panel(), *broken]), **params)
    assert caught.value.exit_code == 3


def test_nothing_to_train_on_fails(tmp_path: Path, policy: Path) -> None:
    with pytest.raises(DataError, match="no record"):
        run(tmp_path / "1", policy, feedback(tmp_path / "f", []))
    with pytest.raises(DataError, match="no training record"):
        run(tmp_path / "2", policy, feedback(tmp_path / "g", panel(1)), validation=0.9999, test=0.0)


def test_inverted_labels_reach_every_split_and_the_card_says_so(tmp_path: Path, policy: Path) -> None:
    done, out = run(tmp_path, policy, feedback(tmp_path / "f", panel()), label_flip=1.0)
    assert done.metrics["n_flipped"] == 60
    for records in read(out).values():
        assert all(item.chosen.startswith("No fox") for item in comparisons(records).items)
    assert "60 labels were inverted" in (out / "card.html").read_text()


class _Page(HTMLParser):
    """Collects tags, external references and visible text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.references: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "rect", "line", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_card_is_one_escaped_page_that_shows_what_matters(tmp_path: Path, policy: Path) -> None:
    odd = pair("a", prompt=EVIL, texts=(EVIL, "<b>&amp;"), annotator=EVIL)
    odd["provenance"] = {**odd["provenance"], "source": EVIL, "license": EVIL}
    odd = record(
        *odd["judgments"],
        prompt=EVIL,
        texts=(EVIL, "<b>&amp;"),
        annotator=odd["annotator"],
        provenance=odd["provenance"],
    )
    binary = record({"type": "binary", "cid": "a", "attribute": EVIL, "value": True}, prompt="Binary?")
    _, out = run(
        tmp_path, policy, feedback(tmp_path / "f", [*panel(4), odd, binary]), title=EVIL, max_bad_share=1.0, test=0.0
    )
    html = (out / "card.html").read_text()
    page = _Page()
    page.feed(html)
    assert page.open == []
    assert "script" not in page.tags
    assert page.references == []
    assert "url(" not in html
    assert "@import" not in html
    assert EVIL in page.text
    assert not re.search(r"20\d\d-\d\d", html)
    for wanted in ("Krippendorff", "json", "x.jsonl:1: cut", "generator_unknown", "preferred", "rejected", "CC0-1.0"):
        assert wanted in page.text, wanted


def test_the_sample_is_drawn_by_content_not_by_place() -> None:
    records = [pair("a", prompt=f"Q{i}") for i in range(50)]
    drawn = [r["record_id"] for r in sample({"train": records})]
    assert len(drawn) == len(set(drawn)) == 10
    assert drawn == [r["record_id"] for r in sample({"train": records[25:][::-1], "test": records[:25]})]


def test_the_histogram_counts_every_row_once() -> None:
    """Widths: 600 rows up to 200 tokens, limit 100: 201 tokens in 32 bins of 7."""
    lengths = [i % 200 + 1 for i in range(600)] + [10_000] * 3
    found = histogram(lengths, 100)
    assert found is not None
    shown = sum(int(bar["title"].split(": ")[1].split()[0]) for bar in found["bars"])
    assert (shown, found["beyond"]) == (600, 3)
    assert histogram([], 100) is None
    assert histogram([1], 100)["beyond"] == 0  # type: ignore[index]


def test_estimates_are_shown_with_interval_and_number() -> None:
    assert (
        estimate_text({"value": 0.5, "n": 1234, "ci_low": 0.25, "ci_high": 0.75}) == "0.500 (0.250 to 0.750, n 1,234)"
    )
    assert estimate_text({"value": None, "n": 0, "ci_low": None, "ci_high": None}) == "–"

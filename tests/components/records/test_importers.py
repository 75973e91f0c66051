"""Native files become records line by line; whatever does not is quarantined with its place and reason."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.contract.params import Choice
from components.errors import ArtifactError, DataError, ParamsError
from components.records import candidate_text, comparisons, messages, validate, write_records
from components.records.importers import (
    AUTO,
    IMPORTERS,
    About,
    Limits,
    Options,
    Quarantined,
    import_one,
)
from tests.components.records.importer_cases import BAD_ROWS, GOOD, HH, POST, SHP, TRL, VOTES, chat
from tests.components.records.importing import import_file
from tests.components.records.samples import pair


def lines(path: Path, rows: Sequence[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def load(path: Path, format: str = "auto", **options: Any) -> tuple[list[dict[str, Any]], list[Quarantined]]:
    out = list(import_file(path, Choice(format), **options))
    return [r for r in out if isinstance(r, dict)], [q for q in out if isinstance(q, Quarantined)]


def texts(record: dict[str, Any]) -> tuple[str, str]:
    (item,) = comparisons([record]).items
    return item.chosen, item.rejected


# --- formats


@pytest.mark.parametrize("name", ["hh.jsonl", "hh.jsonl.gz"])
def test_hh_dialogues(tmp_path: Path, name: str) -> None:
    records, bad = load(lines(tmp_path / name, HH))
    assert bad == []
    assert [texts(r) for r in records] == [("Hello!", "Go away."), ("2.", "3."), ("yes", "no")]
    assert messages(records[1]) == chat("One?", "1.", "Two?")
    for record in records:
        validate(record)


def test_trl_pairs_keep_their_texts_to_the_character(tmp_path: Path) -> None:
    records, bad = load(lines(tmp_path / "p.jsonl", TRL))
    assert bad == []
    assert [texts(r) for r in records] == [("Hello!", "Go away."), (" 1", " 2"), ("2", "3")]
    assert messages(records[0]) == chat("Hi")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": chat("Hi"), "chosen": chat("Hi", "Yes")[1:], "rejected": chat("Hi", "No")[1:]},
        {"prompt": chat("Hi"), "chosen": "Yes", "rejected": "No"},
        {"prompt": "Hi", "chosen": chat("Hi", "Yes"), "rejected": chat("Hi", "No")},
        {"chosen": chat("Hi", "Yes"), "rejected": chat("Hi", "No")},
        {"chosen": "Hi Yes", "rejected": "Hi No"},
    ],
    ids=["chat", "chat prompt only", "prompt repeated in the chats", "implicit chat", "implicit text"],
)
def test_the_other_shapes_of_trl_pairs(tmp_path: Path, row: dict[str, Any]) -> None:
    (record,), bad = load(lines(tmp_path / "p.jsonl", [row]))
    assert bad == []
    assert messages(record) == chat("Hi")
    assert tuple(text.strip() for text in texts(record)) == ("Yes", "No")


def test_an_implicit_prompt_never_splits_a_word(tmp_path: Path) -> None:
    """The common start is 'The sky is bl'; the prompt is cut back to 'The sky is', and joining gives the texts back."""
    (record,), _ = load(lines(tmp_path / "p.jsonl", [{"chosen": "The sky is blue", "rejected": "The sky is black"}]))
    prompt = messages(record)[0]["content"]
    assert prompt == "The sky is"
    assert [prompt + text for text in texts(record)] == ["The sky is blue", "The sky is black"]


def test_one_record_per_vote_with_what_the_annotator_saw(tmp_path: Path) -> None:
    records, bad = load(lines(tmp_path / "v.jsonl", VOTES))
    assert bad == []
    assert [r["annotator"]["id"] for r in records] == ["x", "y", "z"]
    first, second, third = (r["judgments"][0] for r in records)
    assert (first["outcome"], first["shown_order"]) == ("a", ["b", "a"])
    assert (second["outcome"], second["shown_order"]) == ("tie", ["a", "b"])
    assert (third["strength"], third["strength_scale"], "shown_order" in third) == (2, [0, 3], False)
    assert [r["quality"].get("duration_ms") for r in records] == [900, 5, None]
    assert [candidate_text(records[0], cid) for cid in "ab"] == ["Hello!", "Go."]


def test_the_place_of_a_candidate_does_not_tell_the_label(tmp_path: Path) -> None:
    """Chosen first in every record would let a model read the label off the position."""
    rows = [{"prompt": str(i), "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(40)]
    records, _ = load(lines(tmp_path / "p.jsonl", rows))
    wins = sum(record["judgments"][0]["outcome"] == "a" for record in records)
    assert 8 < wins < 32


def test_own_records_come_back_unchanged(tmp_path: Path) -> None:
    records = [pair("a"), pair("tie", prompt="Other?")]
    for name in ("r.jsonl", "r.jsonl.gz"):
        write_records(tmp_path / name, records)
        assert load(tmp_path / name) == (records, [])


def test_parquet_rows(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([*TRL, {"prompt": "Empty?", "chosen": "x"}]), tmp_path / "p.parquet")
    records, bad = load(tmp_path / "p.parquet")
    assert len(records) == 3
    assert [(q.line, q.rule, q.field) for q in bad] == [(4, "missing_column", "rejected")]


def test_every_importer_has_a_case_of_good_and_bad_rows() -> None:
    assert set(IMPORTERS.rows) - {"auto"} == set(GOOD) == {name for name, *_ in BAD_ROWS}


def test_every_importer_takes_a_row_and_what_the_file_does_not_say() -> None:
    assert {row.needs for row in IMPORTERS if row.name != "auto"} == {("row", "options")}


def test_a_changed_importer_changes_what_auto_is() -> None:
    """A step whose format is auto has no importer in its identity: the revision of auto stands for all of them."""
    others = [row.revision for row in IMPORTERS if row.name != "auto"]
    assert IMPORTERS["auto"].revision == 1 + sum(revision - 1 for revision in others)


def test_shp_votes_become_a_preference_with_the_ratio_as_its_strength(tmp_path: Path) -> None:
    """10 / 4 = 2.5 for B; 60 / 3 = 20 for A, above the cap of 10; and without the columns that may be absent."""
    records, bad = load(lines(tmp_path / "x.jsonl", SHP))
    assert bad == []
    judged = [record["judgments"][0] for record in records]
    assert [(j["outcome"], j["strength"], j["strength_scale"]) for j in judged] == [
        ("b", 2.5, [0, 10.0]),
        ("a", 10.0, [0, 10.0]),
        ("b", 2.5, [0, 10.0]),
    ]
    assert not any("shown_order" in judgment for judgment in judged)
    first = records[0]
    assert (first["task"]["domain"], first["task"]["tags"]) == ("askcooking", ["post:p1", "upvote_ratio:0.9"])
    assert [c["generator"]["params"] for c in first["candidates"]] == [
        {"score": 4, "c_root_id": "c1", "created_at_utc": 1000},
        {"score": 10, "c_root_id": "c2", "created_at_utc": 1060},
    ]
    assert texts(first) == ("Until it is done.", "Nine minutes.")
    assert messages(first) == chat("How long do I boil an egg?")
    capped = next(import_file(tmp_path / "x.jsonl", IMPORTERS.choose("", {"name": "shp", "ratio_cap": 2.0})))
    assert isinstance(capped, dict)
    assert (capped["judgments"][0]["strength"], capped["judgments"][0]["strength_scale"]) == (2.0, [0, 2.0])


def test_votes_that_only_time_explains_prefer_nothing(tmp_path: Path) -> None:
    """A thread in which a comment has as many votes as it had minutes: whatever pair is drawn, the earlier leads."""
    posted = {f"comment {i}": (60 * i, 100 - i) for i in range(6)}
    rows = []
    for (one, (time_a, votes_a)), (two, (time_b, votes_b)) in itertools.permutations(posted.items(), 2):
        sides = {"human_ref_A": one, "human_ref_B": two, "score_A": votes_a, "score_B": votes_b}
        times = {"created_at_utc_A": time_a, "created_at_utc_B": time_b}
        a_leads = votes_a > votes_b
        ratio = max(votes_a, votes_b) / min(votes_a, votes_b)
        later = time_a - time_b if a_leads else time_b - time_a
        rows.append(POST | sides | times | {"labels": int(a_leads), "score_ratio": ratio, "seconds_difference": later})
    records, bad = load(lines(tmp_path / "x.jsonl", rows))
    assert records == []
    assert {q.rule for q in bad} == {"time_order"}


# --- what the file does not say


def test_options_become_part_of_the_records(tmp_path: Path) -> None:
    lines(tmp_path / "sub/votes.jsonl.gz", VOTES)
    records, _ = load(
        tmp_path,
        source="panel/{file}",
        license="MIT",
        lang="en",
        annotator_kind="simulated",
        annotator_revision="7",
        instructions_rev="guide-2",
        created_at="2024-01-01",
        generator="m",
        generator_revision="r",
        data_rev="abc",
    )
    record = records[0]
    assert record["provenance"] | {"parents": [], "split": ""} == record["provenance"]
    assert [record["provenance"][k] for k in ("source", "license", "created_at", "data_rev")] == [
        "panel/sub/votes",
        "MIT",
        "2024-01-01",
        "abc",
    ]
    assert [record["annotator"][k] for k in ("id", "kind", "revision", "instructions_rev")] == [
        "x",
        "simulated",
        "7",
        "guide-2",
    ]
    assert {(c["generator"]["name"], c["generator"]["revision"]) for c in record["candidates"]} == {("m", "r")}
    assert record["task"]["lang"] == "en"


def test_a_machine_annotator_without_revision_is_not_reproducible(tmp_path: Path) -> None:
    records, bad = load(lines(tmp_path / "v.jsonl", VOTES), annotator_kind="llm")
    assert records == []
    assert {q.rule for q in bad} == {"machine_annotator_reproducible"}


def test_unknown_formats_and_options_name_the_nearest(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", HH)
    with pytest.raises(ParamsError, match="Did you mean 'labels'"):
        list(import_file(path, Choice("label")))
    with pytest.raises(ParamsError, match="Did you mean 'license'"):
        list(import_file(path, licence="MIT"))


# --- bad lines


@pytest.mark.parametrize(("format", "row", "rule", "field"), BAD_ROWS)
def test_a_bad_row_is_quarantined_between_good_ones(
    tmp_path: Path, format: str, row: Any, rule: str, field: str
) -> None:
    good = GOOD[format]
    records, bad = load(lines(tmp_path / "x.jsonl", [good[0], row, good[1]]), format=format)
    assert len(records) == 2
    assert [(q.file, q.line, q.rule, q.field) for q in bad] == [("x.jsonl", 2, rule, field)]
    assert bad[0].reason.startswith("x.jsonl:2: ")
    assert bad[0].raw == json.dumps(row)[:500]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'{"prompt": "x", "chosen": "y', "json"),
        (b"[1, 2]", "json"),
        (b'"text"', "json"),
        (b'{"prompt": "x", "chosen": NaN, "rejected": "y"}', "json"),
        (b"[" * 100_000, "json"),
        (b'{"prompt": "\xff\xfe", "chosen": "y", "rejected": "z"}', "utf8"),
    ],
    ids=["cut off", "list", "text", "NaN", "too deep", "not UTF-8"],
)
def test_a_line_that_is_no_json_object_is_quarantined(tmp_path: Path, line: bytes, rule: str) -> None:
    path = lines(tmp_path / "x.jsonl", TRL[:1])
    path.write_bytes(path.read_bytes() + line)
    records, bad = load(path)
    assert len(records) == 1
    assert [(q.line, q.rule, len(q.raw) <= 500) for q in bad] == [(2, rule, True)]


def test_blank_lines_windows_line_ends_and_a_byte_order_mark_are_no_fault(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", TRL)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n"))
    records, bad = load(path)
    assert (len(records), bad) == (3, [])


def test_named_columns_may_be_ignored(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", [{**TRL[0], "system": "Be brief."}])
    assert len(load(path)[1]) == 1
    assert len(load(path, ignore_columns=("system",))[0]) == 1
    message = {"role": "assistant", "content": "Yes", "mood": "good"}
    path = lines(tmp_path / "m.jsonl", [{"prompt": "Hi", "chosen": [message], "rejected": chat("Hi", "No")[1:]}])
    assert [q.field for q in load(path)[1]] == ["chosen[0].mood"]
    assert len(load(path, ignore_columns=("mood",))[0]) == 1


def test_columns_of_no_meaning_are_left_aside_and_counted(tmp_path: Path) -> None:
    path = lines(tmp_path / "x.jsonl", [{**TRL[0], "id": 1}, {**TRL[0], "prompt": "Ho", "id": 2, "source": "x"}])
    about = About()
    assert len(list(import_one(path, "x", AUTO, Options(), Limits(), about))) == 2
    assert about.left_aside == {"id": 2, "source": 1}
    assert about.format == "trl"


# --- bad files


def test_nothing_is_lost(tmp_path: Path) -> None:
    """Lines = records + quarantined, over a folder of every format, with good and bad lines mixed."""
    rows = 0
    for fmt, good in GOOD.items():
        mixed = [*good, *(row for name, row, _, _ in BAD_ROWS if name == fmt)]
        records, bad = load(lines(tmp_path / fmt / "x.jsonl", mixed), format=fmt)
        assert (len(records), len(records) + len(bad)) == (len(good), len(mixed))
        rows += len(good)
        lines(tmp_path / fmt / "x.jsonl", good)
    records, bad = load(tmp_path)
    assert (len(records), bad) == (rows, [])


def test_a_folder_is_read_in_sorted_order_and_pattern_selects(tmp_path: Path) -> None:
    for name in ("b/2.jsonl", "a/9.jsonl", "a/1.jsonl.gz", "c.txt"):
        lines(tmp_path / name, [{**TRL[0], "prompt": name}])
    records, _ = load(tmp_path)
    assert [messages(r)[0]["content"] for r in records] == ["a/1.jsonl.gz", "a/9.jsonl", "b/2.jsonl"]
    assert [r["provenance"]["source"] for r in records] == ["a/1", "a/9", "b/2"]
    assert len(load(tmp_path, pattern="a/*")[0]) == 2


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_files_that_cannot_be_read_as_a_whole_are_named(tmp_path: Path) -> None:
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in HH).encode())
    with pytest.raises(ArtifactError, match="no such file"):
        load(tmp_path / "missing.jsonl")
    with pytest.raises(DataError, match="is not gzip"):
        load(write(tmp_path / "x.jsonl.gz", b'{"chosen": 1}'))
    with pytest.raises(DataError, match="cut off or damaged"):
        load(write(tmp_path / "y.jsonl.gz", packed[:-9]))
    with pytest.raises(DataError, match="cut off or damaged"):
        load(write(tmp_path / "crc.jsonl.gz", packed[:-8] + b"\x00" * 8))
    with pytest.raises(DataError, match="is not gzip"):
        load(write(tmp_path / "empty.jsonl.gz", b""))
    with pytest.raises(DataError, match="cut off or damaged"):
        load(write(tmp_path / "z.jsonl.gz", packed[:20] + b"\x00\x01\x02" + packed[23:]))
    with pytest.raises(DataError, match="not a Parquet"):
        load(write(tmp_path / "x.parquet", b"PAR"))
    with pytest.raises(DataError, match="cannot read this kind"):
        load(write(tmp_path / "x.xlsx", b"x"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="no usable file"):
        load(tmp_path / "empty")


# --- real files


@pytest.mark.parametrize("name", ["helpful-base", "helpful-online", "helpful-rejection-sampled", "harmless-base"])
def test_every_line_of_the_real_hh_files_is_accounted_for(data_dir: Path, name: str) -> None:
    """Lines and equal pairs are counted here without the importer; the importer must add up to them."""
    path = data_dir / "preference" / "hh-rlhf" / name / "test.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        rows = [json.loads(line) for line in stream if line.strip()]
    good, bad = load(path)
    assert len(good) + len(bad) == len(rows)
    assert sum(q.rule == "identical_candidates_tie" for q in bad) == sum(r["chosen"] == r["rejected"] for r in rows)
    assert len(good) > 0.98 * len(rows)
    assert all(messages(record)[-1]["role"] == "user" for record in good)
    ends = {tuple(row[side].strip()[-20:] for side in ("chosen", "rejected")) for row in rows}
    assert all(
        tuple(text[-20:] for text in texts(record)) in ends for record in good if min(map(len, texts(record))) > 20
    )

"""human_feedback: native files in, one feedback artifact out, every line accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import content_id
from components.contract import Record, build, dump, run_component
from components.errors import DataError, ParamsError
from components.human_feedback.params import Params
from components.human_feedback.run import sample
from components.records import prompt_key, read_records, validate
from tests.components.records.importer_cases import POST
from tests.components.records.samples import pair

GOOD = [{"prompt": f"Question {i}?", "chosen": f"yes {i}", "rejected": f"no {i}"} for i in range(8)]
SAME = {"prompt": "Same?", "chosen": "x", "rejected": "x"}
BLANK = {"prompt": "Blank?", "chosen": "x", "rejected": " "}


def write(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(tmp_path: Path, raw: Path, **params: Any) -> tuple[Record, Path]:
    out = tmp_path / "out" / "feedback"
    return run_component("human_feedback", params, {"raw": [raw]}, {"feedback": out}), out


def test_every_line_is_a_record_or_a_quarantine_row(tmp_path: Path) -> None:
    raw = write(tmp_path / "raw" / "pairs.jsonl", [*GOOD[:4], SAME, *GOOD[4:], BLANK]).parent
    (raw / "README.md").write_text("about")
    done, out = run(tmp_path, raw, max_quarantine_share=0.5, license="MIT", source="panel")
    records = list(read_records(out / "records.jsonl"))
    rows = list(read_records(out / "quarantine.jsonl"))
    summary = json.loads((out / "summary.json").read_text())
    assert (len(records), len(rows), summary["n_lines"]) == (8, 2, 10)
    assert [(row["file"], row["line"], row["rule"], row["field"]) for row in rows] == [
        ("pairs.jsonl", 5, "identical_candidates_tie", "chosen"),
        ("pairs.jsonl", 10, "candidate_not_empty", "rejected"),
    ]
    assert summary["quarantined_by_rule"] == {"candidate_not_empty": 1, "identical_candidates_tie": 1}
    assert (summary["files"], summary["files_not_read"]) == (
        ["pairs.jsonl"],
        {"README.md": "not one of .jsonl, .jsonl.gz, .parquet"},
    )
    assert done.metrics["quarantine_share"] == 0.2
    for record in records:
        validate(record)
        assert record["provenance"]["source"] == "panel"
        assert record["provenance"]["data_rev"] == content_id(raw)
        assert record["provenance"]["run_id"] == done.identity


def test_the_artifact_is_the_same_every_time_and_says_no_clock(tmp_path: Path) -> None:
    raw = write(tmp_path / "pairs.jsonl", GOOD)
    first, _ = run(tmp_path / "1", raw)
    second, out = run(tmp_path / "2", raw)
    assert first.outputs == second.outputs
    assert all(record["provenance"]["created_at"] == "" for record in read_records(out / "records.jsonl"))


def test_a_given_time_is_kept(tmp_path: Path) -> None:
    _, out = run(tmp_path, write(tmp_path / "p.jsonl", GOOD), created_at="2024-05-01")
    assert {record["provenance"]["created_at"] for record in read_records(out / "records.jsonl")} == {"2024-05-01"}


def test_too_much_quarantine_fails_with_the_top_reasons(tmp_path: Path) -> None:
    raw = write(tmp_path / "p.jsonl", [*GOOD, SAME, BLANK, SAME])
    with pytest.raises(DataError) as caught:
        run(tmp_path, raw)
    message = str(caught.value)
    assert "3 of 11 lines" in message
    assert "identical_candidates_tie x 2" in message
    assert "p.jsonl:9" in message
    assert caught.value.exit_code == 3
    assert not (tmp_path / "out" / "feedback").exists()


def test_no_record_at_all_fails_even_if_any_share_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 of 1 lines"):
        run(tmp_path, write(tmp_path / "p.jsonl", [SAME]), max_quarantine_share=1.0)


def test_votes_keep_their_annotators(tmp_path: Path) -> None:
    vote = {"prompt": "Hi", "response_a": "x", "response_b": "y", "choice": "a", "shown_first": "b", "duration_ms": 7}
    about = {"annotator_kind": "simulated", "annotator_revision": "SRC-04", "instructions_rev": "guide-1"}
    raw = write(tmp_path / "v.jsonl", [{**vote, **about, "annotator": "s1"}, {**vote, "annotator": "p1"}])
    done, out = run(tmp_path, raw, instructions_rev="guide-0")
    first, second = (record["annotator"] for record in read_records(out / "records.jsonl"))
    assert (first["id"], first["kind"], first["revision"], first["instructions_rev"]) == (
        "s1",
        "simulated",
        "SRC-04",
        "guide-1",
    )
    assert (second["id"], second["kind"], second["instructions_rev"]) == ("p1", "human", "guide-0")
    assert done.metrics["n_annotators"] == 2


def test_the_sample_keeps_prompts_whole_and_grows_with_its_limit() -> None:
    records = [pair("a", prompt=f"Q{i % 20}", annotator=f"p{i}") for i in range(60)]  # 3 votes on each of 20 prompts
    ten, twelve, thirty = (sample(records, limit, seed=1) for limit in (10, 12, 30))
    assert [len(ten), len(twelve), len(thirty)] == [10, 12, 30]
    ids = [{record["record_id"] for record in kept} for kept in (ten, twelve, thirty)]
    assert ids[0] < ids[1] < ids[2]
    assert len({prompt_key(record) for record in twelve}) == 4
    assert [record["record_id"] for record in records if record["record_id"] in ids[2]] == [
        r["record_id"] for r in thirty
    ]
    assert sample(records, 30, seed=2) != thirty
    assert sample(records, 0, seed=1) == sample(records, 60, seed=1) == records


def test_a_named_importer_is_part_of_what_the_step_is_with_its_knobs_and_revision() -> None:
    """Whether a knob is written or left to its default; another value, or another revision, is another step."""
    named = [{"name": "shp"}, {"name": "shp", "ratio_cap": 10.0}, {"name": "shp", "ratio_cap": 5.0}, {"name": "auto"}]
    dumped = [dump(build(Params, {"format": form}, "p"))["format"] for form in named]
    assert dumped[0] == dumped[1] == {"name": "shp", "revision": 2, "ratio_cap": 10.0}
    assert dumped[2]["ratio_cap"] == 5.0
    assert dumped[3] == {"name": "auto", "revision": 5}
    assert build(Params, {}, "p") == build(Params, {"format": {"name": "auto"}}, "p")


def test_a_named_importer_reads_the_files_with_its_knobs(tmp_path: Path) -> None:
    _, out = run(tmp_path, write(tmp_path / "shp.jsonl", [POST]), format={"name": "shp", "ratio_cap": 2.0})
    (record,) = read_records(out / "records.jsonl")
    assert (record["judgments"][0]["strength"], record["judgments"][0]["strength_scale"]) == (2.0, [0, 2.0])


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"limit": -1}, "limit"),
        ({"max_quarantine_share": 1.5}, "max_quarantine_share"),
        ({"license": " "}, "license"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"format": {"name": "csv"}}, "format.name: no such importer"),
        ({"licence": "MIT"}, "Did you mean 'license'"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, Any], field: str) -> None:
    with pytest.raises(ParamsError, match=field):
        build(Params, params, "params.human_feedback")


def test_real_hh_files_become_records(tmp_path: Path, data_dir: Path) -> None:
    raw = data_dir / "preference" / "hh-rlhf"
    if not raw.is_dir():
        pytest.skip(f"no {raw}")
    done, out = run(tmp_path, raw, files="harmless-base/*", source="hh-rlhf/{file}", license="MIT", lang="en", limit=50)
    records = list(read_records(out / "records.jsonl"))
    assert len(records) == 50
    assert done.metrics["n_lines"] == done.metrics["n_sampled_out"] + done.metrics["n_quarantined"] + 50
    assert {record["provenance"]["source"] for record in records} == {"hh-rlhf/harmless-base/test"}


# --- a folder with a bad file


BAD_FILES = {
    "utf16.jsonl": json.dumps(GOOD[0]).encode("utf-16"),
    "cut.jsonl.gz": b"\x1f\x8b\x08\x00",
    "notes.jsonl": b"no data\n",
    "all-bad.jsonl": (json.dumps(SAME) + "\n").encode() * 3,
    "not.parquet": b"PAR1",
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_set_aside_listed_and_loud(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    raw = write(tmp_path / "raw" / "good.jsonl", GOOD).parent
    (raw / name).write_bytes(BAD_FILES[name])
    done, out = run(tmp_path, raw)
    summary = json.loads((out / "summary.json").read_text())
    assert (done.metrics["n_records"], done.metrics["n_files_set_aside"]) == (8, 1)
    assert (summary["files"], list(summary["files_set_aside"])) == (["good.jsonl"], [name])
    assert f"{name} is set aside" in caplog.text
    with pytest.raises(DataError):
        run(tmp_path / "2", raw, bad_files="refuse")
    with pytest.raises(DataError):
        run(tmp_path / "3", raw / name)


def test_the_artifact_says_nothing_of_where_the_files_lay(tmp_path: Path) -> None:
    """The same files in another folder, on another machine, give the same bytes, reasons and commands included."""
    outputs = []
    for place in ("here", "there/deep"):
        raw = write(tmp_path / place / "good.jsonl", GOOD).parent
        (raw / "latin.jsonl").write_bytes(json.dumps(GOOD[0]).encode() + b'\n{"a": "\xff"}\n' + b"{}\n")
        for name, content in BAD_FILES.items():
            (raw / name).write_bytes(content)
        done, _ = run(tmp_path / f"out-{place[0]}", raw, max_quarantine_share=0.5)
        outputs.append(done.outputs)
    assert outputs[0] == outputs[1]


def test_a_folder_of_bad_files_only_is_an_error(tmp_path: Path) -> None:
    for name, content in BAD_FILES.items():
        (tmp_path / "raw").mkdir(exist_ok=True)
        (tmp_path / "raw" / name).write_bytes(content)
    with pytest.raises(DataError, match=r"lines are quarantined|none of \d files can be read"):
        run(tmp_path, tmp_path / "raw")


def test_what_was_read_left_aside_and_found_is_in_the_summary(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [{"prompt": "Rate this.", "chosen": f"yes {i}", "rejected": f"no {i}", "id": i} for i in range(6)]
    _, out = run(tmp_path, write(tmp_path / "one.jsonl", rows))
    summary = json.loads((out / "summary.json").read_text())
    assert summary["formats"] == {"one.jsonl": "trl"}
    assert summary["columns_left_aside"] == {"one.jsonl": {"id": 6}}
    assert "left aside: id (6 rows)" in summary["findings"][0]
    assert "all 6 records have the same prompt, 'Rate this.'" in summary["findings"][1]
    assert "Rate this." in caplog.text

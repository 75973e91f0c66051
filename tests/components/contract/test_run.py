"""Running a component: checked before, complete afterwards, the same again the next time."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components import artifacts
from components.contract import Record, load_record, run_component
from components.contract.run import home
from components.errors import ArtifactError, JudgeError, ParamsError, WiringError


def _text(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    return [_text(tmp_path / "one", "1"), _text(tmp_path / "two", "2")]


def _run(tmp_path: Path, inputs: dict[str, list[Path]], params: dict[str, Any] | None = None, at: str = "") -> Record:
    return run_component("toy", params, inputs, {"out": tmp_path / f"out{at}", "twin": tmp_path / f"twin{at}"})


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_outputs_and_record_lie_side_by_side(toy: Path, texts: list[Path], tmp_path: Path) -> None:
    record = _run(tmp_path, {"texts": texts}, {"times": 2, "inner": {"suffix": ";"}})
    # many inputs come in the order of their content ids: md5("1") = c4ca..., md5("2") = c81e...
    assert (tmp_path / "out" / "text").read_text() == "1;2;1;2;"
    assert load_record(tmp_path / "out") == load_record(tmp_path / "twin") == record
    assert record.metrics == {"n": 2}
    assert record.params == {"times": 2, "inner": {"suffix": ";"}, "fail": ""}
    assert record.outputs["out"] == artifacts.content_id(tmp_path / "out")
    beside = {f"{port}{end}" for port in ("out", "twin") for end in ("", ".record.json", ".execution.json")}
    assert _names(tmp_path) == beside | {"one", "two", "toys"}


def test_twice_gives_the_same_bytes_and_the_same_record(toy: Path, texts: list[Path], tmp_path: Path) -> None:
    for at in ("a", "b"):
        _run(tmp_path, {"texts": texts if at == "a" else texts[::-1]}, at=at)
    for name in ("out{}/text", "out{}.record.json", "twin{}.record.json"):
        assert (tmp_path / name.format("a")).read_bytes() == (tmp_path / name.format("b")).read_bytes()


def test_a_record_has_no_clock_no_host_and_no_path(toy: Path, texts: list[Path], tmp_path: Path) -> None:
    _run(tmp_path, {"texts": texts})
    text = (tmp_path / "out.record.json").read_text()
    assert platform.node() not in text
    assert str(tmp_path) not in text
    assert not re.search(r"seconds|started|time\b|\d{4}-\d\d-\d\d", text)
    facts = json.loads((tmp_path / "out.execution.json").read_text())
    assert facts["host"] == platform.node()
    assert {"started", "seconds", "python", "resumed"} <= set(facts)


def test_lineage_goes_back_to_what_came_from_outside(toy: Path, texts: list[Path], tmp_path: Path) -> None:
    first = _run(tmp_path, {"texts": texts}, at="1")
    second = _run(tmp_path, {"texts": [tmp_path / "out1"]}, at="2")
    assert second.inputs == {"texts": [first.outputs["out"]]}
    assert set(second.lineage) == {*first.outputs.values(), *(artifacts.content_id(path) for path in texts)}
    assert second.lineage[artifacts.content_id(texts[0])] == {"external": "raw_feedback"}
    assert second.lineage[first.outputs["out"]]["identity"] == first.identity


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({}, WiringError, r"toy: input 'texts' \(raw_feedback\) is missing\. Pass --in texts=PATH"),
        ({"text": ["one"]}, WiringError, r"toy --in text: no such input\. Did you mean 'texts'\?"),
        ({"texts": ["one"], "head": ["one", "two"]}, WiringError, r"--in head: takes one artifact \(got 2\)"),
        ({"texts": ["absent"]}, ArtifactError, r"toy --in texts: .*absent does not exist"),
    ],
)
def test_wrong_inputs_fail_before_anything_is_made(
    toy: Path, texts: list[Path], tmp_path: Path, inputs: dict[str, list[str]], error: type[Exception], message: str
) -> None:
    before = _names(tmp_path)
    with pytest.raises(error, match=message):
        _run(tmp_path, {port: [tmp_path / name for name in names] for port, names in inputs.items()})
    assert _names(tmp_path) == before


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({"out": "out"}, r"toy: output 'twin' has no place\. Pass --out twin=PATH"),
        ({"out": "out", "twin": "twin", "twn": "x"}, r"--out twn: no such output\. Did you mean 'twin'\?"),
        ({"out": "out", "twin": "out"}, r"would overwrite"),
        ({"out": "out", "twin": "out/twin"}, r"would overwrite"),
        ({"out": "one", "twin": "twin"}, r"--out out: .* would overwrite .*one\. Choose another folder"),
    ],
)
def test_wrong_outputs_fail_before_anything_is_made(
    toy: Path, texts: list[Path], tmp_path: Path, outputs: dict[str, str], message: str
) -> None:
    before = _names(tmp_path)
    with pytest.raises(WiringError, match=message):
        run_component("toy", {}, {"texts": texts}, {port: tmp_path / name for port, name in outputs.items()})
    assert _names(tmp_path) == before
    assert texts[0].read_text() == "1"


def test_wrong_parameters_fail_first(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params\.toy: unknown key 'tims'"):
        _run(tmp_path, {}, {"tims": 2})


def test_an_input_that_was_changed_after_it_was_made_is_refused(toy: Path, texts: list[Path], tmp_path: Path) -> None:
    _run(tmp_path, {"texts": texts}, at="1")
    (tmp_path / "out1" / "text").write_text("edited by hand")
    with pytest.raises(ArtifactError, match=r"out1 was changed after it was made .* Rerun the step that makes it"):
        _run(tmp_path, {"texts": [tmp_path / "out1"]})


def test_a_failed_run_leaves_the_old_outputs_and_no_others(toy: Path, texts: list[Path], tmp_path: Path) -> None:
    _run(tmp_path, {"texts": texts})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "toys" not in path.parts}
    with pytest.raises(JudgeError, match="failed as asked"):
        _run(tmp_path, {"texts": texts}, {"fail": "JudgeError"})
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and "toys" not in path.parts}
    assert after == before


def test_an_output_that_is_not_of_its_type_is_refused(toy: Path, texts: list[Path], tmp_path: Path) -> None:
    from components.contract.spec import all_specs

    path = toy / "component.yaml"
    path.write_text(path.read_text().replace("twin: {type: raw_feedback}", "twin: {type: report}"))
    all_specs.cache_clear()
    with pytest.raises(ArtifactError, match=r"toy output twin: .* is not a report: no metrics\.json"):
        _run(tmp_path, {"texts": texts})
    assert _names(tmp_path) == {"one", "two", "toys"}


def test_a_metric_that_is_not_json_stops_the_run_before_anything_is_in_place(
    toy: Path, texts: list[Path], tmp_path: Path
) -> None:
    (toy / "run.py").write_text("def run(params, inputs, outputs):\n    return {'loss': float('nan')}\n")
    with pytest.raises(ValueError, match="JSON compliant"):
        _run(tmp_path, {"texts": texts})
    assert _names(tmp_path) == {"one", "two", "toys"}


def test_checkpoints_are_kept_for_the_same_identity_and_dropped_on_success(
    toy: Path, texts: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(JudgeError):
        _run(tmp_path, {"texts": texts}, {"fail": "JudgeError"})
    with pytest.raises(JudgeError):
        _run(tmp_path, {"texts": texts}, {"fail": "JudgeError"})
    kept = list((home() / "work").glob("*/checkpoint"))
    assert len(kept) == 1
    record = _run(tmp_path, {"texts": texts})
    assert kept[0].parent.name != record.identity
    assert not (home() / "work" / record.identity).exists()
    assert json.loads((tmp_path / "out.execution.json").read_text())["resumed"] is False


def test_an_optional_input_is_part_of_the_identity_when_given(toy: Path, texts: list[Path], tmp_path: Path) -> None:
    without = _run(tmp_path, {"texts": texts}, at="1")
    with_head = _run(tmp_path, {"texts": texts, "head": [texts[0]]}, at="2")
    assert without.identity != with_head.identity
    assert "head" not in without.inputs


def test_under_torchrun_only_rank_zero_keeps_what_it_writes(
    toy: Path, texts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    before = _names(tmp_path)
    _run(tmp_path, {"texts": texts})
    assert _names(tmp_path) == before


def test_home_is_an_environment_variable_or_a_folder_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert home() == Path(os.environ["PREFLOW_HOME"])
    monkeypatch.delenv("PREFLOW_HOME")
    monkeypatch.chdir(tmp_path)
    assert home() == tmp_path / ".preflow"


@pytest.mark.parametrize(
    ("params", "threads"), [("SimpleNamespace(compute=SimpleNamespace(threads=3))", 3), ("None", 1)]
)
def test_linear_algebra_runs_on_the_threads_that_the_parameters_say(params: str, threads: int) -> None:
    """Whatever the machine and its environment would have it do: the last bits of a sum depend on it."""
    code = (
        "from types import SimpleNamespace\nfrom components.contract.run import limit_threads\n"
        f"limit_threads({params})\nimport numpy, threadpoolctl\n"
        "print({pool['num_threads'] for pool in threadpoolctl.threadpool_info() if pool['user_api'] == 'blas'})"
    )
    env = {**os.environ, "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{{{min(threads, os.cpu_count() or 1)}}}"

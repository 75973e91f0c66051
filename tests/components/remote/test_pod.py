"""A step on artifacts of the remote: the same ids and records as on a laptop, nothing twice, nothing lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import Store, content_id, remove
from components.cli import main
from components.contract import Record, run_component
from components.contract.run import home
from components.errors import ArtifactError, JudgeError, ParamsError, PreflowError, WiringError
from components.remote import Remote, mirror, pod
from components.remote.pod import run_with_remote
from components.remote.refs import Ref

PORTS = ["out", "twin"]


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    monkeypatch.setenv("PREFLOW_REMOTE", str(tmp_path / "remote"))
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home"))
    return Remote.configured()


@pytest.fixture
def text(remote: Remote, tmp_path: Path) -> Ref:
    (tmp_path / "text").write_text("words")
    store = Store(tmp_path / "laptop")
    oid = store.put(tmp_path / "text")
    remote.push(oid, store)
    return Ref(oid)


def _local(tmp_path: Path, **inputs: list[Path]) -> Record:
    return run_component("toy", {}, inputs, {port: tmp_path / "local" / port for port in PORTS})


def _another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str = "home2") -> None:
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / name))


def test_ids_and_record_are_those_of_a_local_run(toy: Path, remote: Remote, text: Ref, tmp_path: Path) -> None:
    record = run_with_remote("toy", {}, {"texts": [text]}, PORTS)
    assert record == _local(tmp_path, texts=[tmp_path / "text"])
    there = tmp_path / "remote" / "preflow" / "records" / f"{record.identity}.json"
    assert there.read_bytes() == (tmp_path / "local" / "out.record.json").read_bytes()
    assert all(oid in remote for oid in record.outputs.values())
    assert remote.read(record.outputs["out"], "text") == b"words."
    assert remote.made_by(record.outputs["out"]) == [record.identity]
    assert {"host", "seconds", "resumed"} <= set(remote.execution(record.identity))
    assert not (home() / "outputs" / record.identity).exists()
    assert not (tmp_path / "remote" / "preflow" / "checkpoints" / record.identity / "manifest.json").exists()


def test_a_chain_keeps_its_lineage(
    toy: Path, remote: Remote, text: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_with_remote("toy", {}, {"texts": [text]}, PORTS)
    _another_machine(tmp_path, monkeypatch)
    inputs = {"texts": [Ref(first.outputs["out"]), text], "head": [Ref(first.outputs["twin"], first.identity)]}
    second = run_with_remote("toy", {"times": 2}, inputs, PORTS)
    _local(tmp_path, texts=[tmp_path / "text"])
    local = {"texts": [tmp_path / "text", tmp_path / "local" / "out"], "head": [tmp_path / "local" / "twin"]}
    places = {port: tmp_path / "local2" / port for port in PORTS}
    assert run_component("toy", {"times": 2}, local, places).to_json() == second.to_json()


def test_inputs_of_the_remote_and_outputs_here_and_the_reverse(
    toy: Path, remote: Remote, text: Ref, tmp_path: Path
) -> None:
    here = {port: tmp_path / "here" / port for port in PORTS}
    record = run_with_remote("toy", {}, {"texts": [text]}, here)
    assert content_id(here["out"]) == record.outputs["out"]
    assert remote.record(record.identity) is None
    assert run_with_remote("toy", {}, {"texts": [tmp_path / "text"]}, PORTS) == record
    assert remote.record(record.identity) == record


def test_a_step_that_is_done_does_not_run_again(
    toy: Path,
    remote: Remote,
    text: Ref,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    record = run_with_remote("toy", {}, {"texts": [text]}, PORTS)
    _another_machine(tmp_path, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(pod, "run_step", lambda *args: pytest.fail("it ran"))
        assert run_with_remote("toy", {}, {"texts": [text]}, PORTS) == record
    assert capsys.readouterr().out == f"done before: toy@1 {record.identity} is in {remote.url}\n"
    Store(tmp_path / "remote").path(record.outputs["out"]).unlink()
    assert run_with_remote("toy", {}, {"texts": [text]}, PORTS) == record
    assert record.outputs["out"] in remote


def test_outputs_that_could_not_be_pushed_are_not_made_again(
    toy: Path, remote: Remote, text: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Remote, "push", lambda *args: (_ for _ in ()).throw(PreflowError("remote: gone. Retry.")))
        with pytest.raises(PreflowError, match="gone"):
            run_with_remote("toy", {}, {"texts": [text]}, PORTS)
    assert list((home() / "outputs").glob("*/out/text"))
    with monkeypatch.context() as patch:
        patch.setattr(pod, "run_step", lambda *args: pytest.fail("it ran"))
        record = run_with_remote("toy", {}, {"texts": [text]}, PORTS)
    assert remote.record(record.identity) == record


def test_a_checkpoint_goes_to_the_next_machine(
    toy: Path, remote: Remote, text: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JudgeError):
        run_with_remote("toy", {"fail": "JudgeError"}, {"texts": [text]}, PORTS)
    kept = list((tmp_path / "remote" / "preflow" / "checkpoints").glob("*/manifest.json"))
    assert len(kept) == 1
    _another_machine(tmp_path, monkeypatch)
    run = toy / "run.py"
    run.write_text(run.read_text().replace("if params.fail:", "if params.fail and not resumed:"))
    with monkeypatch.context() as patch:  # the module is imported anew
        patch.delitem(sys.modules, "components.toy.run")
        record = run_with_remote("toy", {"fail": "JudgeError"}, {"texts": [text]}, PORTS)
    assert record.identity == kept[0].parent.name
    assert remote.execution(record.identity)["resumed"] is True
    assert not kept[0].exists()


def test_checkpoints_are_mirrored_while_the_step_runs(
    toy: Path, remote: Remote, text: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The toy waits until its checkpoint has arrived: without the mirror it waits for ever."""
    monkeypatch.setattr(mirror, "EVERY", 0.01)
    run = toy / "run.py"
    arrived = f"list(pathlib.Path({str(tmp_path)!r}).glob('remote/preflow/checkpoints/*/manifest.json'))"
    wait = f"    import pathlib\n    while not {arrived}: time.sleep(0.01)\n"
    run.write_text(run.read_text().replace("    texts = [read", wait + "    texts = [read"))
    assert run_with_remote("toy", {}, {"texts": [text]}, PORTS).metrics == {"n": 1}
    assert not list((tmp_path / "remote").glob("preflow/checkpoints/*/manifest.json"))


def test_a_mirror_that_fails_is_said_once_and_ends_nothing(
    toy: Path,
    remote: Remote,
    text: Ref,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*args: Any) -> None:
        raise PreflowError("remote: full. Make room.")

    monkeypatch.setattr(mirror, "EVERY", 0.01)
    monkeypatch.setattr(Remote, "save_work", broken)
    monkeypatch.setattr(Remote, "drop_work", broken)
    run = toy / "run.py"
    run.write_text(run.read_text().replace("    texts = [read", "    time.sleep(0.2)\n    texts = [read"))
    record = run_with_remote("toy", {}, {"texts": [text]}, PORTS)
    assert remote.record(record.identity) == record
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "checkpoint: not mirrored: remote: full. Make room.",
        "checkpoint: not removed: remote: full. Make room.",
    ]


def test_mistakes_are_found_before_anything_is_pulled(
    toy: Path, remote: Remote, text: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Remote, "pull", lambda *args: pytest.fail("it pulled"))
    with pytest.raises(ParamsError, match="unknown key 'tims'"):
        run_with_remote("toy", {"tims": 2}, {"texts": [text]}, PORTS)
    with pytest.raises(WiringError, match="no such input"):
        run_with_remote("toy", {}, {"text": [text]}, PORTS)
    with pytest.raises(WiringError, match="takes one artifact"):
        run_with_remote("toy", {}, {"texts": [text], "head": [text, text]}, PORTS)
    with pytest.raises(WiringError, match="output 'twin' has no place"):
        run_with_remote("toy", {}, {"texts": [text]}, ["out"])


def test_an_input_that_was_changed_on_the_machine_is_refused(toy: Path, remote: Remote, text: Ref) -> None:
    run_with_remote("toy", {}, {"texts": [text]}, PORTS)
    path = home() / "inputs" / "external" / text.oid
    remove(path)
    path.write_text("other")
    with pytest.raises(ArtifactError, match="was changed after it was pulled"):
        run_with_remote("toy", {}, {"texts": [text]}, PORTS)


def test_under_torchrun_only_rank_zero_pushes_and_mirrors(
    toy: Path, remote: Remote, text: Ref, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    run_with_remote("toy", {}, {"texts": [text]}, PORTS)
    with pytest.raises(JudgeError):
        run_with_remote("toy", {"fail": "JudgeError"}, {"texts": [text]}, PORTS)
    assert not (tmp_path / "remote" / "preflow").exists()
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    assert remote.record(run_with_remote("toy", {}, {"texts": [text]}, PORTS).identity)


def test_machines_of_one_step_start_from_what_the_remote_has(
    toy: Path, remote: Remote, text: Ref, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One machine kept a newer checkpoint than the mirror: with it the processes would not agree."""
    with pytest.raises(JudgeError):
        run_with_remote("toy", {"fail": "JudgeError"}, {"texts": [text]}, PORTS)
    own = next((home() / "work").iterdir())
    (own / "newer").write_text("only here")
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(JudgeError):
        run_with_remote("toy", {"fail": "JudgeError"}, {"texts": [text]}, PORTS)
    assert [path.name for path in own.iterdir()] == ["checkpoint"]


def _cli(*args: str) -> int:
    return main(["run", "toy", *args])


def test_the_command_line(
    toy: Path, remote: Remote, text: Ref, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "params.yaml").write_text("toy: {times: 3}\nother: {times: 2}\n")
    store = Store(tmp_path / "laptop")
    params = store.put(tmp_path / "params.yaml")
    remote.push(params, store)
    outs = ("--out", "out=dvc:", "--out", "twin=dvc:")
    assert _cli("--params", f"dvc:{params}", "--in", f"texts={text}", *outs) == 0
    out, twin = (line.split()[2] for line in capsys.readouterr().out.splitlines())
    assert remote.read(out, "text") == b"words.words.words."
    assert _cli("--params", f"dvc:{params}:other", "--in", f"texts=dvc:{out}", *outs, "--set", "inner.suffix=;") == 0
    made = capsys.readouterr().out.split()[2]
    assert remote.read(made, "text") == b"words.words.words.;" * 2
    assert _cli("--params", f"dvc:{params}:nobody", "--in", f"texts={text}", *outs) == 2
    assert f"error: dvc:{params}: no section 'nobody'" in capsys.readouterr().err
    assert json.loads(json.dumps(remote.listing(twin)))  # a mapping of plain text


@pytest.mark.parametrize(
    ("outs", "message"),
    [
        (("out=dvc:", "twin=here"), "--out twin: all outputs go to the remote, or none (got here)"),
        ((f"out=dvc:{'0' * 32}", "twin=dvc:"), f"--out out: an id is known when it is made (got dvc:{'0' * 32})"),
    ],
)
def test_outputs_that_are_neither_here_nor_there(
    toy: Path, remote: Remote, text: Ref, outs: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _cli("--in", f"texts={text}", *(word for out in outs for word in ("--out", out))) == 2
    assert message in capsys.readouterr().err

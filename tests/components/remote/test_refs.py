"""`dvc:` references: one way to write them, one artifact that they mean."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from components.artifacts import Store, content_id
from components.contract import Record, load_record
from components.contract.run import home
from components.errors import ArtifactError, WiringError
from components.remote import Remote, refs
from components.remote.refs import Ref

OID, ID = "0cc175b9c0f1b6a831c399e269772661", "1" * 32


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return Remote(str(tmp_path / "remote"))


@pytest.fixture
def oid(remote: Remote, tmp_path: Path) -> str:
    """A folder in the remote."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "text").write_text("text")
    made = Store(tmp_path / "elsewhere").put(tmp_path / "made")
    remote.push(made, Store(tmp_path / "elsewhere"))
    return made


def _record(identity: str, oid: str) -> Record:
    return Record("toy@1", identity, {}, {}, {"out": oid}, {}, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("artifacts/x", Path("artifacts/x")),
        (f"dvc:{OID}", Ref(OID)),
        (f"dvc:{OID}.dir@{ID}", Ref(f"{OID}.dir", ID)),
        (f"dvc:{OID}/labels.jsonl", Ref(OID, "", "labels.jsonl")),
        (f"dvc:{OID}@{ID}/a b.json", Ref(OID, ID, "a b.json")),
    ],
)
def test_what_a_reference_says(text: str, expected: Ref | Path) -> None:
    assert refs.parse(text, "x") == expected
    assert str(refs.parse(text, "x")) == text


@pytest.mark.parametrize(
    "text",
    ["dvc:", "dvc:abc", f"dvc:{OID.upper()}", f"dvc:{OID}.tar", f"dvc:{OID}@", f"dvc:{OID}@{ID}0", f"dvc:{OID}/..",
     f"dvc:{OID}/a/b", f"dvc:{OID}@{ID}@{ID}", "dvc:../../x"],
)  # fmt: skip
def test_a_misspelt_reference_is_a_mistake(text: str) -> None:
    with pytest.raises(WiringError, match=r"--in x: not a reference \(got .*\)\. Write dvc:<id>"):
        refs.parse(text, "--in x")


def test_an_artifact_comes_with_the_record_of_its_only_maker(remote: Remote, oid: str) -> None:
    remote.put_record(_record(ID, oid), {})
    for ref in (Ref(oid), Ref(oid, ID)):
        path = refs.fetch(ref, remote, refs.node_store(), "x")
        assert path == home() / "inputs" / ID / oid
        assert load_record(path) == _record(ID, oid)
        assert content_id(path) == oid
    assert not list(home().rglob("*.lock"))


def test_an_artifact_from_outside_has_no_record(remote: Remote, oid: str) -> None:
    path = refs.fetch(Ref(oid), remote, refs.node_store(), "x")
    assert path == home() / "inputs" / "external" / oid
    assert load_record(path) is None


def test_the_same_bytes_of_two_steps_do_not_disturb_each_other(remote: Remote, oid: str) -> None:
    for identity in (ID, "2" * 32):
        remote.put_record(_record(identity, oid), {})
    with pytest.raises(WiringError, match=rf"several steps.*{ID} \(toy@1\), {'2' * 32}.*Write dvc:{oid}@<identity>"):
        refs.fetch(Ref(oid), remote, refs.node_store(), "x")
    for identity in (ID, "2" * 32):
        found = load_record(refs.fetch(Ref(oid, identity), remote, refs.node_store(), "x"))
        assert found is not None
        assert found.identity == identity


def test_a_maker_that_did_not_make_it_is_bad_data(remote: Remote, oid: str) -> None:
    with pytest.raises(ArtifactError, match=rf"the step {ID} did not make {oid} \(got: it has no record there"):
        refs.fetch(Ref(oid, ID), remote, refs.node_store(), "x")
    remote.put_record(_record(ID, "f" * 32), {})
    with pytest.raises(ArtifactError, match=rf"did not make {oid} \(got: it made {'f' * 32}"):
        refs.fetch(Ref(oid, ID), remote, refs.node_store(), "x")


def test_a_marker_without_a_record_counts_for_nothing(remote: Remote, oid: str, tmp_path: Path) -> None:
    """A pod died between the marker and the record."""
    marker = tmp_path / "remote" / "preflow" / "made" / oid / ID
    marker.parent.mkdir(parents=True)
    marker.touch()
    assert refs.maker(Ref(oid), remote, "x") is None


def test_a_single_file_keeps_the_name_that_readers_look_at(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text("{}\n")
    store = Store(tmp_path / "elsewhere")
    oid = store.put(tmp_path / "labels.jsonl")
    remote.push(oid, store)
    path = refs.fetch(Ref(oid, "", "labels.jsonl"), remote, refs.node_store(), "x")
    assert (path.name, path.read_text()) == ("labels.jsonl", "{}\n")
    assert refs.fetch(Ref(oid), remote, refs.node_store(), "x").read_text() == "{}\n"


def test_what_a_node_has_is_not_fetched_again_and_what_it_damaged_is(
    remote: Remote, oid: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFLOW_CACHE", str(tmp_path / "node"))
    refs.fetch(Ref(oid), remote, refs.node_store(), "x")
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home2"))  # another pod on the node
    away = tmp_path / "away"
    (tmp_path / "remote" / "files").rename(away)
    assert content_id(refs.fetch(Ref(oid), remote, refs.node_store(), "x")) == oid
    away.rename(tmp_path / "remote" / "files")
    monkeypatch.setenv("PREFLOW_HOME", str(tmp_path / "home3"))
    md5 = hashlib.md5(b"text").hexdigest()
    refs.node_store().path(md5).unlink()
    refs.node_store().path(md5).write_text("")  # the node lost its power
    assert content_id(refs.fetch(Ref(oid), remote, refs.node_store(), "x")) == oid

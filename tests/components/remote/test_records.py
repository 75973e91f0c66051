"""Records in the remote: there when everything is there, found by identity and by what was made."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.contract import Record
from components.errors import ArtifactError, PreflowError
from components.remote import Remote
from components.remote.transport import Transport

OID, TWIN = "a" * 32 + ".dir", "b" * 32 + ".dir"


def _record(identity: str, **outputs: str) -> Record:
    return Record("toy@1", identity, {"times": 2}, {"texts": ["c" * 32]}, outputs, {"n": 1, "é": 0.5}, {})


def test_a_record_is_found_by_identity_and_by_output(remote: Remote) -> None:
    one, two = _record("1" * 32, out=OID, twin=TWIN), _record("2" * 32, out=OID)
    assert (remote.record(one.identity), remote.execution(one.identity), remote.made_by(OID)) == (None, {}, [])
    remote.put_record(two, {"host": "there"})
    remote.put_record(one, {"host": "here", "seconds": 1.5})
    assert remote.record(one.identity) == one
    assert remote.execution(one.identity) == {"host": "here", "seconds": 1.5}
    assert remote.made_by(OID) == ["1" * 32, "2" * 32]
    assert remote.made_by(TWIN) == ["1" * 32]
    remote.put_record(one, {})  # said again by somebody who did not run it
    assert remote.execution(one.identity)["host"] == "here"


def test_the_bytes_are_those_beside_an_output(folder: Remote, tmp_path: Path) -> None:
    record = _record("1" * 32, out=OID)
    folder.put_record(record, {})
    record.write(tmp_path / "out")
    there = tmp_path / "remote" / "preflow" / "records" / f"{record.identity}.json"
    assert there.read_bytes() == (tmp_path / "out.record.json").read_bytes()


def test_the_record_comes_last(folder: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(Transport, "write", lambda self, path, data: written.append(path))
    folder.put_record(_record("1" * 32, out=OID, twin=TWIN), {"host": "here"})
    assert written == [
        f"preflow/records/{'1' * 32}.execution.json",
        f"preflow/made/{OID}/{'1' * 32}",
        f"preflow/made/{TWIN}/{'1' * 32}",
        f"preflow/records/{'1' * 32}.json",
    ]


@pytest.mark.parametrize("identity", ["../records", "1" * 31, ""])
def test_an_identity_that_is_none_is_refused(folder: Remote, identity: str) -> None:
    with pytest.raises(ArtifactError, match="must be 32 hexadecimal digits"):
        folder.record(identity)


def test_a_damaged_record_is_bad_data(folder: Remote, tmp_path: Path) -> None:
    folder.put_record(_record("1" * 32, out=OID), {})
    (tmp_path / "remote" / "preflow" / "records" / f"{'1' * 32}.json").write_text("{")
    with pytest.raises(PreflowError, match="not a record"):
        folder.record("1" * 32)

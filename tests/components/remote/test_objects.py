"""Artifacts go to the remote and come back by content id, whole or not at all, and each byte once."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import Store, content_id, md5_file
from components.errors import ArtifactError, PreflowError
from components.remote import Remote, transport
from components.remote.transport import Transport
from tests.components.remote.conftest import Made, contents

FILES = {"a": b"a", "sub__b": b"b" * 5000, "empty": b"", "same": b"a", **{f"n{i}": b"%d" % i for i in range(20)}}


def _get(store: Store, oid: str, path: Path) -> dict[str, bytes]:
    store.get(oid, path)
    return contents(path)


def test_what_was_pushed_can_be_pulled(remote: Remote, put: Made, store: Store, tmp_path: Path) -> None:
    oid = put(**FILES)
    assert oid not in remote
    assert remote.missing(oid) == [oid]
    remote.push(oid, store)
    assert oid in remote
    assert remote.missing(oid) == []
    assert remote.size(oid) == (sum(len(data) for data in FILES.values()), 24)
    assert remote.read(oid, "sub/b") == b"b" * 5000
    assert remote.listing(oid)["same"] == remote.listing(oid)["a"] == hashlib.md5(b"a").hexdigest()
    remote.pull(oid, Store(tmp_path / "other"))
    assert _get(Store(tmp_path / "other"), oid, tmp_path / "out") == {k.replace("__", "/"): v for k, v in FILES.items()}
    assert not list((tmp_path / "other").rglob("*.part")) + list((tmp_path / "other").rglob("*.lock"))


def test_a_single_file(remote: Remote, store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"bytes")
    oid = store.put(tmp_path / "file")
    remote.push(oid, store)
    assert (remote.size(oid), remote.read(oid), oid in remote) == ((5, 1), b"bytes", True)
    remote.pull(oid, Store(tmp_path / "other"))
    Store(tmp_path / "other").get(oid, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"bytes"


class Dvc:
    """A DVC repository whose default remote is ours."""

    def __init__(self, root: Path, url: str, endpoint: str = "") -> None:
        from dvc.repo import Repo

        root.mkdir()
        self.root, self.repo = root, Repo.init(str(root), no_scm=True)
        with self.repo.config.edit() as config:
            config["core"]["remote"] = "ours"
            config["remote"]["ours"] = {"url": url, **({"endpointurl": endpoint} if endpoint else {})}
        self.repo = Repo(str(root))

    def pulled(self, oid: str) -> dict[str, bytes]:
        entry = {"md5": oid, "hash": "md5", "path": "artifact"}
        (self.root / "artifact.dvc").write_text(json.dumps({"outs": [entry]}))
        self.repo.pull()
        return contents(self.root / "artifact")


@pytest.fixture
def dvc(remote: Remote, request: pytest.FixtureRequest, tmp_path: Path) -> Dvc:
    if remote.url.startswith("s3://"):
        return Dvc(tmp_path / "repo", remote.url, request.getfixturevalue("s3").endpoint)
    return Dvc(tmp_path / "repo", remote.url)


def test_dvc_pulls_what_we_pushed(remote: Remote, dvc: Dvc, put: Made, store: Store) -> None:
    oid = put(**FILES)
    remote.push(oid, store)
    assert dvc.pulled(oid) == {name.replace("__", "/"): data for name, data in FILES.items()}


def test_we_pull_what_dvc_pushed(remote: Remote, dvc: Dvc, tmp_path: Path) -> None:
    for name in ("one", "sub/two"):
        (dvc.root / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (dvc.root / "data" / name).write_text(name)
    dvc.repo.add([str(dvc.root / "data")])
    dvc.repo.push()
    oid = content_id(dvc.root / "data")
    ours = Remote.configured(dvc.root)  # by DVC's own configuration
    assert oid in ours
    ours.pull(oid, Store(tmp_path / "other"))
    assert _get(Store(tmp_path / "other"), oid, tmp_path / "out") == contents(dvc.root / "data")


def _count(monkeypatch: pytest.MonkeyPatch, method: str) -> list[str]:
    """The paths with which a method of Transport is called from now on."""
    calls: list[str] = []
    plain: Callable[..., Any] = getattr(Transport, method)

    def counted(self: Transport, *args: Any, **more: Any) -> Any:
        calls.append(next(arg for arg in args if isinstance(arg, str)))
        return plain(self, *args, **more)

    monkeypatch.setattr(Transport, method, counted)
    return calls


def test_only_what_is_lacking_is_uploaded_and_the_listing_last(
    remote: Remote, put: Made, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = put(a=b"a", b=b"b"), put(a=b"a", b=b"b", c=b"c")
    uploads = _count(monkeypatch, "upload")
    remote.push(first, store)
    assert len(uploads) == 3
    uploads.clear()
    remote.push(first, store)
    assert uploads == []
    remote.push(second, store)
    c = hashlib.md5(b"c").hexdigest()
    assert uploads == [f"files/md5/{c[:2]}/{c[2:]}", f"files/md5/{second[:2]}/{second[2:]}"]


def test_an_object_of_another_size_is_replaced(folder: Remote, put: Made, store: Store) -> None:
    oid = put(a=b"whole")
    folder.push(oid, store)
    file = Store(Path(folder.url)).path(hashlib.md5(b"whole").hexdigest())
    file.write_bytes(b"ha")
    folder.push(oid, store)
    assert file.read_bytes() == b"whole"


def test_a_push_that_fails_leaves_no_listing(
    folder: Remote, put: Made, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid, bad = put(a=b"a", b=b"b"), hashlib.md5(b"b").hexdigest()

    def broken(source: Path, target: Path) -> None:
        if bad[2:] in source.name:
            raise ConnectionResetError("cable pulled")
        target.write_bytes(source.read_bytes())

    monkeypatch.setattr(transport.shutil, "copyfile", broken)
    with pytest.raises(
        PreflowError, match=rf"writing files/md5/{bad[:2]}/{bad[2:]} failed 3 times .*cable pulled"
    ) as e:
        folder.push(oid, store)
    assert e.value.exit_code == 1
    assert folder.url in str(e.value)
    assert folder.missing(oid) == [oid]
    assert not list(Path(folder.url).rglob("*.tmp"))


def test_a_damaged_object_of_the_store_is_not_pushed(folder: Remote, put: Made, store: Store) -> None:
    oid = put(a=b"good")
    store.path(hashlib.md5(b"good").hexdigest()).write_bytes(b"evil")
    with pytest.raises(ArtifactError, match="is damaged"):
        folder.push(oid, store)
    assert oid not in folder


def test_what_is_not_there_is_bad_data(remote: Remote, store: Store) -> None:
    oid = "0" * 32
    for action in (remote.pull, remote.push):
        with pytest.raises(ArtifactError, match=f"{oid}.* is not there"):
            action(oid, store)
    with pytest.raises(ArtifactError, match="is not there"):
        remote.read(oid + ".dir", "a")
    with pytest.raises(ArtifactError, match="is not there"):
        remote.size(oid)
    with pytest.raises(ArtifactError, match=r"must be an md5, or md5\.dir for a folder \(got \.\./x\)"):
        remote.pull("../x", store)


def test_a_folder_that_lacks_a_file_is_not_there(folder: Remote, put: Made, store: Store, tmp_path: Path) -> None:
    oid, a = put(a=b"a", b=b"b"), hashlib.md5(b"a").hexdigest()
    folder.push(oid, store)
    Store(Path(folder.url)).path(a).unlink()
    assert folder.missing(oid) == [a]
    assert oid not in folder
    with pytest.raises(ArtifactError, match=f"{a} is not there"):
        folder.pull(oid, Store(tmp_path / "other"))
    assert oid not in Store(tmp_path / "other")


def test_a_download_goes_on_where_it_stopped(
    remote: Remote, put: Made, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytes(range(256)) * 40  # 10240 bytes in ranges of 1000
    oid, other = put(big=data), Store(tmp_path / "other")
    remote.push(oid, store)
    monkeypatch.setattr(transport, "CHUNK", 1000)
    plain, starts, cable = Transport._range, [], [False]

    def cut(self: Transport, path: str, start: int, end: int) -> bytes:
        starts.append(start)
        if start == 4000 and not cable[0]:
            raise PreflowError("remote: gone. Try again.")
        return plain(self, path, start, end)

    monkeypatch.setattr(Transport, "_range", cut)
    with pytest.raises(PreflowError, match="gone"):
        remote.pull(oid, other)
    part = next((tmp_path / "other").rglob("*.part"))
    assert part.read_bytes() == data[:4000]
    assert oid not in other
    starts.clear()
    cable[0] = True
    remote.pull(oid, other)
    assert sorted(starts) == list(range(4000, 10240, 1000))
    assert _get(other, oid, tmp_path / "out") == {"big": data}


def test_what_fails_or_is_stopped_does_not_wait_for_large_files(
    folder: Remote, put: Made, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid, other = put(big=b"0" * 200, bad=b"1" * 10), Store(tmp_path / "other")
    folder.push(oid, store)
    monkeypatch.setattr(transport, "CHUNK", 1)
    plain, reads, size = Transport._range, [], 200

    def slow(self: Transport, path: str, start: int, end: int) -> bytes:
        reads.append(start)
        if path.endswith(hashlib.md5(b"1" * 10).hexdigest()[2:]):
            raise KeyboardInterrupt
        time.sleep(0.01)
        return plain(self, path, start, end)

    monkeypatch.setattr(Transport, "_range", slow)
    with pytest.raises(KeyboardInterrupt):
        folder.pull(oid, other)
    assert len(reads) < size / 2
    monkeypatch.undo()
    folder.pull(oid, other)
    assert oid in other


def test_a_large_file_goes_in_parts_and_the_bar_ends_where_it_should(
    s3_url: str, put: Made, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """5 MB is the least that S3 takes as a part: 11 MB are three parts, and eleven ranges."""
    monkeypatch.setattr(transport, "PART", 5 << 20)
    monkeypatch.setattr(transport, "CHUNK", 1 << 20)
    remote, data = Remote(s3_url), b"0123456789abcdef" * (11 << 16)
    oid = put(big=data, small=b"small")
    told: dict[str, list[int]] = {"up": [], "down": []}
    at, name = remote._at, hashlib.md5(data).hexdigest()
    at.upload(store.path(name), "big", told["up"].append, ahead=2)
    assert at.download("big", tmp_path / "big", len(data), told["down"].append, ahead=3) == name
    assert (sum(told["up"]), sum(told["down"]), len(told["down"])) == (len(data), len(data), 11)
    assert len([count for count in told["up"] if count]) == 3
    remote.push(oid, store)
    remote.pull(oid, Store(tmp_path / "other"))
    assert _get(Store(tmp_path / "other"), oid, tmp_path / "out") == {"big": data, "small": b"small"}


def test_damage_on_arrival_is_found_after_a_second_try(
    folder: Remote, put: Made, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid, md5 = put(a=b"good"), hashlib.md5(b"good").hexdigest()
    folder.push(oid, store)
    Store(Path(folder.url)).path(md5).write_bytes(b"evil")
    reads = _count(monkeypatch, "_range")
    with pytest.raises(ArtifactError, match=f"object {md5}: it is damaged .* Delete it there and rerun"):
        folder.pull(oid, Store(tmp_path / "other"))
    assert len(reads) == 2
    assert contents(tmp_path / "other") == {}
    with pytest.raises(ArtifactError, match="is damaged"):
        folder.read(oid, "a")


def test_damage_on_the_way_is_cured_by_a_second_try(
    folder: Remote, put: Made, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    oid = put(a=b"good")
    folder.push(oid, store)
    plain, reads = Transport._range, []

    def flipped(self: Transport, path: str, start: int, end: int) -> bytes:
        reads.append(path)
        return b"evil" if len(reads) == 1 else plain(self, path, start, end)

    monkeypatch.setattr(Transport, "_range", flipped)
    folder.pull(oid, Store(tmp_path / "other"))
    assert _get(Store(tmp_path / "other"), oid, tmp_path / "out") == {"a": b"good"}


@pytest.mark.parametrize(
    "entry",
    [{"relpath": "../outside"}, {"relpath": "/outside"}, {"relpath": ""}, {"md5": "../../../outside"}, {"md5": 7}],
)
def test_a_listing_that_leads_elsewhere_is_refused(folder: Remote, tmp_path: Path, entry: dict[str, str]) -> None:
    """Whoever can write to a shared remote can make a listing whose hash is right."""
    raw = json.dumps([{"md5": hashlib.md5(b"x").hexdigest(), "relpath": "x", **entry}]).encode()
    oid = hashlib.md5(raw).hexdigest() + ".dir"
    Store(Path(folder.url)).add_bytes(oid, raw)
    with pytest.raises(ArtifactError, match="leads elsewhere"):
        folder.pull(oid, Store(tmp_path / "other"))
    assert not (tmp_path / "other").exists()


def test_a_listing_that_is_none_is_refused(folder: Remote, store: Store) -> None:
    raw = b'{"not": "a list"}'
    oid = hashlib.md5(raw).hexdigest() + ".dir"
    Store(Path(folder.url)).add_bytes(oid, raw)
    with pytest.raises(ArtifactError, match="not a listing"):
        folder.pull(oid, store)


PULL = """
import sys, time
from pathlib import Path
from components.artifacts import Store
from components.remote import Remote
from components.remote.transport import Transport
plain = Transport._range
def slow(self, path, start, end):
    with open(sys.argv[4], "a") as log:
        log.write(path + "\\n")
    time.sleep(0.1)
    return plain(self, path, start, end)
Transport._range = slow
Path(sys.argv[5]).touch()
while not all(Path(flag).exists() for flag in sys.argv[5:7]):
    time.sleep(0.01)
Remote(sys.argv[1]).pull(sys.argv[2], Store(Path(sys.argv[3])))
"""


def test_processes_of_one_machine_download_each_object_once(
    folder: Remote, put: Made, store: Store, tmp_path: Path
) -> None:
    files = {f"n{i}": b"%d" % i * 100 for i in range(16)}
    oid, log = put(**files), tmp_path / "log"
    folder.push(oid, store)
    flags = [str(tmp_path / "flag1"), str(tmp_path / "flag2")]
    shared = [sys.executable, "-c", PULL, folder.url, oid, str(tmp_path / "other"), str(log)]
    running = [subprocess.Popen([*shared, *order]) for order in (flags, flags[::-1])]
    assert [process.wait(60) for process in running] == [0, 0]
    fetched = log.read_text().splitlines()
    assert len(fetched) == len(set(fetched)) == 16
    assert _get(Store(tmp_path / "other"), oid, tmp_path / "out") == files


def test_a_damaged_object_of_the_store_can_be_dropped(put: Made, store: Store) -> None:
    oid, a, b = put(a=b"good", b=b"fine"), hashlib.md5(b"good").hexdigest(), hashlib.md5(b"fine").hexdigest()
    store.path(a).write_bytes(b"")  # what a machine leaves that lost its power
    store.drop_damaged(oid)
    assert not store.path(a).exists()
    assert md5_file(store.path(b)) == b
    store.path(oid).write_bytes(b"[]")
    store.drop_damaged(oid)
    assert not store.path(oid).exists()


def test_a_linked_artifact_shares_the_bytes_of_the_store_and_is_read_only(
    put: Made, store: Store, tmp_path: Path
) -> None:
    oid = put(a=b"good")
    store.get(oid, tmp_path / "out", link=True)
    assert (tmp_path / "out" / "a").stat().st_ino == store.path(hashlib.md5(b"good").hexdigest()).stat().st_ino
    assert (tmp_path / "out" / "a").stat().st_mode & 0o777 == 0o444

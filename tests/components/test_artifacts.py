"""Content ids are DVC's, the store is DVC's cache, and nothing half-written or damaged is taken for an artifact."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components import artifacts
from components.artifacts import Store, content_id
from components.errors import ArtifactError


def _file(path: Path, data: bytes = b"text\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _flat(root: Path) -> None:
    _file(root / "b.txt", b"b")
    _file(root / "a.txt", b"a")


def _nested(root: Path) -> None:
    # "a-b/x" sorts before "a/x" as text, after it as path parts: the listing is sorted as text
    for name in ("a/x", "a-b/x", "a.b", "a/y/z", "Z"):
        _file(root / name, name.encode())


def _unicode(root: Path) -> None:
    for name in ("héllo wörld.json", "日本語/ファイル", "emoji-🎉", 'quote"and\\backslash'):
        _file(root / name, name.encode())


def _empty_files(root: Path) -> None:
    _file(root / "empty", b"")
    _file(root / "sub" / "empty", b"")
    (root / "no files here").mkdir()  # an empty folder is not part of the content, as in DVC


def _line_ends(root: Path) -> None:
    _file(root / "dos.txt", b"a\r\nb\r\n")  # DVC 2 hashed text with LF line ends; DVC 3 and we hash the bytes
    _file(root / "binary", bytes(range(256)) * 5000)  # more than one block


def _links(root: Path) -> None:
    target = _file(root.parent / "elsewhere" / "real", b"linked")
    root.mkdir()
    (root / "link").symlink_to(target)


FOLDERS: dict[str, Callable[[Path], None]] = {
    "flat": _flat,
    "nested": _nested,
    "unicode": _unicode,
    "empty_files": _empty_files,
    "line_ends": _line_ends,
    "links": _links,
}


class Dvc:
    """A DVC repository without git, in which everything of FOLDERS and two single files has been added."""

    def __init__(self, root: Path) -> None:
        from dvc.repo import Repo

        self.root = root
        self.repo = Repo.init(str(root), no_scm=True)
        for name, make in FOLDERS.items():
            make(root / name)
        _file(root / "file.bin", b"\x00\xff" * 10)
        _file(root / "empty.bin", b"")
        self.repo.add([str(root / name) for name in [*FOLDERS, "file.bin", "empty.bin"]])

    def id(self, name: str) -> str:
        return str(yaml.safe_load((self.root / f"{name}.dvc").read_text())["outs"][0]["md5"])

    @property
    def cache(self) -> Store:
        return Store(self.root / ".dvc" / "cache")


@pytest.fixture(scope="module")
def dvc(tmp_path_factory: pytest.TempPathFactory) -> Dvc:
    return Dvc(tmp_path_factory.mktemp("dvc"))


def _bytes(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", [*FOLDERS, "file.bin", "empty.bin"])
def test_content_id_is_the_hash_that_dvc_writes(dvc: Dvc, name: str) -> None:
    assert content_id(dvc.root / name) == dvc.id(name)


@pytest.mark.parametrize("name", [*FOLDERS, "file.bin", "empty.bin"])
def test_our_store_reads_what_dvc_cached(dvc: Dvc, name: str, tmp_path: Path) -> None:
    assert dvc.id(name) in dvc.cache
    dvc.cache.get(dvc.id(name), tmp_path / "out")
    assert content_id(tmp_path / "out") == dvc.id(name)


def test_dvc_checks_out_what_our_store_holds(tmp_path: Path) -> None:
    from dvc.repo import Repo

    _nested(tmp_path / "made")
    (tmp_path / "repo").mkdir()
    repo = Repo.init(str(tmp_path / "repo"), no_scm=True)
    oid = Store(tmp_path / "repo" / ".dvc" / "cache").put(tmp_path / "made")
    entry = {"md5": oid, "hash": "md5", "path": "policy"}
    (tmp_path / "repo" / "policy.dvc").write_text(yaml.safe_dump({"outs": [entry]}))
    repo.checkout()
    assert _bytes(tmp_path / "repo" / "policy") == _bytes(tmp_path / "made")


def test_id_of_a_folder_by_hand(tmp_path: Path) -> None:
    """md5("a") = 0cc175b9c0f1b6a831c399e269772661; the folder's id is the md5 of the JSON listing, plus .dir."""
    _file(tmp_path / "d" / "a.txt", b"a")
    listing = '[{"md5": "0cc175b9c0f1b6a831c399e269772661", "relpath": "a.txt"}]'
    assert content_id(tmp_path / "d") == hashlib.md5(listing.encode()).hexdigest() + ".dir"
    assert content_id(tmp_path / "d" / "a.txt") == "0cc175b9c0f1b6a831c399e269772661"


def test_id_depends_on_bytes_and_names_but_not_on_times_or_modes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        _flat(tmp_path / name)
    os.utime(tmp_path / "two" / "a.txt", (1, 1))
    (tmp_path / "two" / "b.txt").chmod(0o755)
    same = content_id(tmp_path / "one")
    assert content_id(tmp_path / "two") == same
    (tmp_path / "two" / "a.txt").rename(tmp_path / "two" / "c.txt")
    assert content_id(tmp_path / "two") != same


def test_nothing_there_is_bad_data_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such file or folder"):
        content_id(tmp_path / "absent")


_NAMES = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/\\"), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.dictionaries(_NAMES.filter(lambda n: n not in {".", ".."}), st.binary(max_size=64), max_size=6))
def test_get_gives_back_what_put_took(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("roundtrip")
    (root / "made").mkdir()
    for name, data in files.items():
        (root / "made" / name).write_bytes(data)
    store = Store(root / "store")
    store.get(store.put(root / "made"), root / "again")
    assert _bytes(root / "again") == _bytes(root / "made")


def test_put_twice_changes_nothing_and_single_files_round_trip(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    one = _file(tmp_path / "file", b"bytes")
    assert store.put(one) == store.put(one) == content_id(one)
    store.get(content_id(one), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"bytes"


def _put(tmp_path: Path) -> tuple[Store, str]:
    _flat(tmp_path / "made")
    store = Store(tmp_path / "store")
    return store, store.put(tmp_path / "made")


def test_a_damaged_object_is_found_and_the_old_output_stays(tmp_path: Path) -> None:
    store, oid = _put(tmp_path)
    object_of_a = store.root / "files" / "md5" / "0c" / "c175b9c0f1b6a831c399e269772661"
    object_of_a.write_bytes(b"X")  # same size as before
    _file(tmp_path / "out" / "old", b"old")
    with pytest.raises(ArtifactError, match="is damaged"):
        store.get(oid, tmp_path / "out")
    assert _bytes(tmp_path / "out") == {"old": b"old"}
    assert [p.name for p in tmp_path.iterdir() if "tmp" in p.name] == []


def test_a_damaged_listing_is_found(tmp_path: Path) -> None:
    store, oid = _put(tmp_path)
    (store.root / "files" / "md5" / oid[:2] / oid[2:]).write_bytes(b"[]")
    with pytest.raises(ArtifactError, match="listing is damaged"):
        store.get(oid, tmp_path / "out")


def test_an_object_without_one_of_its_files_is_not_there(tmp_path: Path) -> None:
    store, oid = _put(tmp_path)
    assert oid in store
    (store.root / "files" / "md5" / "0c" / "c175b9c0f1b6a831c399e269772661").unlink()
    assert oid not in store
    with pytest.raises(ArtifactError, match="is not there"):
        store.get(oid, tmp_path / "out")


@pytest.mark.parametrize("relpath", ["../outside", "/outside", "sub/../../outside"])
def test_a_listing_cannot_write_outside_its_folder(tmp_path: Path, relpath: str) -> None:
    """Whoever can write to a shared store can make a listing whose hash is right."""
    store = Store(tmp_path / "store")
    md5 = store.put(_file(tmp_path / "file", b"evil"))
    raw = json.dumps([{"md5": md5, "relpath": relpath}]).encode()
    oid = hashlib.md5(raw).hexdigest() + ".dir"
    _file(store.root / "files" / "md5" / oid[:2] / oid[2:], raw)
    with pytest.raises(ArtifactError, match="leads elsewhere"):
        store.get(oid, tmp_path / "out")


def test_replace_puts_a_folder_in_the_place_of_another(tmp_path: Path) -> None:
    _file(tmp_path / "new" / "n", b"new")
    _file(tmp_path / "out" / "o", b"old")
    artifacts.replace(tmp_path / "new", tmp_path / "out")
    assert _bytes(tmp_path) == {"out/n": b"new"}


def test_replace_puts_a_folder_in_the_place_of_a_file_and_the_other_way_round(tmp_path: Path) -> None:
    _file(tmp_path / "folder" / "n", b"new")
    artifacts.replace(tmp_path / "folder", _file(tmp_path / "out"))
    assert _bytes(tmp_path) == {"out/n": b"new"}
    artifacts.replace(_file(tmp_path / "file", b"file"), tmp_path / "out")
    assert _bytes(tmp_path) == {"out": b"file"}


def test_leftovers_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    _file(tmp_path / "out" / "o", b"done")
    _file(tmp_path / "out.tmp-1234" / "half", b"half")
    _file(tmp_path / "out.old-1234" / "o", b"older")
    _file(tmp_path / "other.tmp-1", b"not ours")
    artifacts.clear_leftovers(tmp_path / "out")
    assert _bytes(tmp_path) == {"out/o": b"done", "other.tmp-1": b"not ours"}


def test_a_kill_between_the_two_renames_of_replace_loses_nothing(tmp_path: Path) -> None:
    """The old version has been moved away and the new one is not yet in place: the old one comes back."""
    _file(tmp_path / "out.old-1234" / "o", b"old")
    _file(tmp_path / "out.tmp-1234" / "n", b"new")
    artifacts.clear_leftovers(tmp_path / "out")
    assert _bytes(tmp_path) == {"out/o": b"old"}


def test_a_crash_in_the_middle_of_replace_keeps_one_whole_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _file(tmp_path / "new" / "n", b"new")
    _file(tmp_path / "out" / "o", b"old")
    rename, calls = os.rename, []

    def second_fails(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise OSError("disk gone")
        rename(*args)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(OSError, match="disk gone"):
        artifacts.replace(tmp_path / "new", tmp_path / "out")
    monkeypatch.undo()
    artifacts.clear_leftovers(tmp_path / "out")
    assert _bytes(tmp_path / "out") == {"o": b"old"}


def test_write_text_replaces_whole_files_only(tmp_path: Path) -> None:
    artifacts.write_text(tmp_path / "deep" / "file.json", "1")
    artifacts.write_text(tmp_path / "deep" / "file.json", "2")
    assert _bytes(tmp_path) == {"deep/file.json": b"2"}


@pytest.mark.parametrize("inner", ["ring", "sub/up", "pipe", "gone", "socket"])
def test_what_has_no_end_or_no_content_is_refused_not_waited_for(tmp_path: Path, inner: str) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "a").write_text("a")
    place = tmp_path / "in" / inner
    match inner:
        case "pipe":
            os.mkfifo(place)
        case "socket":
            os.mknod(place, stat.S_IFSOCK | 0o600)
        case _:
            place.symlink_to({"ring": ".", "sub/up": "../../in", "gone": "nowhere"}[inner])
    with pytest.raises(ArtifactError, match=inner):
        content_id(tmp_path / "in")
    if inner in ("pipe", "gone", "socket"):
        with pytest.raises(ArtifactError, match=inner):
            content_id(place)


def test_links_within_and_beside_a_folder_are_followed(tmp_path: Path) -> None:
    """As DVC does: a link has the content of what it leads to."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").write_text("x")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("a")
    (tmp_path / "one" / "b").symlink_to("a")
    (tmp_path / "one" / "c").symlink_to("../other")
    (tmp_path / "two" / "b").write_text("a")
    (tmp_path / "two" / "c").mkdir()
    (tmp_path / "two" / "c" / "x").write_text("x")
    assert content_id(tmp_path / "one") == content_id(tmp_path / "two")

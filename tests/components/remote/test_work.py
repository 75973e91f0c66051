"""Checkpoints in the remote: only whole ones are loaded, and one of them is there at any moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components import artifacts
from components.errors import PreflowError
from components.remote import Remote, work
from components.remote.transport import Transport
from tests.components.remote.conftest import contents

ID = "1" * 32


def _checkpoint(folder: Path, step: int, weights: bytes = b"") -> None:
    """As components.training.checkpoint does: complete by rename, then the older ones go."""
    temporary = folder / f"step-{step:08d}.tmp-1234"
    temporary.mkdir(parents=True)
    (temporary / "model.safetensors").write_bytes(weights or b"weights %d" % step)
    (temporary / "progress.json").write_text(f'{{"step": {step}}}')
    temporary.rename(folder / f"step-{step:08d}")
    for other in folder.glob("step-*"):
        if other.name != f"step-{step:08d}":
            artifacts.remove(other)


def _saved(remote: Remote, tmp_path: Path) -> dict[str, bytes]:
    """What another machine gets."""
    place = tmp_path / "elsewhere"
    artifacts.remove(place)
    remote.load_work(ID, place)
    return contents(place)


def _step(step: int) -> dict[str, bytes]:
    name = f"step-{step:08d}"
    return {f"{name}/model.safetensors": b"weights %d" % step, f"{name}/progress.json": b'{"step": %d}' % step}


def test_the_newest_complete_checkpoint_is_kept_and_the_older_one_goes(remote: Remote, tmp_path: Path) -> None:
    folder = tmp_path / "work" / ID
    assert remote.load_work(ID, folder) is False
    remote.save_work(ID, folder)  # nothing yet
    assert _saved(remote, tmp_path) == {}
    _checkpoint(folder, 1)
    (folder / "step-00000002.tmp-1234").mkdir()
    (folder / "step-00000002.tmp-1234" / "model.safetensors").write_bytes(b"half")
    remote.save_work(ID, folder)
    assert _saved(remote, tmp_path) == _step(1)
    artifacts.remove(folder / "step-00000002.tmp-1234")
    _checkpoint(folder, 2)
    remote.save_work(ID, folder)
    assert _saved(remote, tmp_path) == _step(2)
    assert len(remote._at.entries(f"preflow/checkpoints/{ID}/objects")) == 2
    assert [path.name for path in (tmp_path / "work").iterdir()] == [ID], "no snapshot and no lock is left"
    remote.drop_work(ID)
    assert remote.load_work(ID, tmp_path / "third") is False
    assert remote._at.entries(f"preflow/checkpoints/{ID}/objects") == {}


@pytest.mark.parametrize("where", ["objects", "manifest"])
def test_a_torn_upload_leaves_the_older_one(
    folder: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    place = tmp_path / "work" / ID
    _checkpoint(place, 1)
    folder.save_work(ID, place)
    _checkpoint(place, 2)
    plain, count = Transport._place, [0]

    def torn(self: Transport, path: str, write: Any) -> None:
        count[0] += 1
        if ("manifest" in path) if where == "manifest" else count[0] == 2:
            raise PreflowError("power cut")
        plain(self, path, write)

    monkeypatch.setattr(Transport, "_place", torn)
    with pytest.raises(PreflowError, match="power cut"):
        folder.save_work(ID, place)
    monkeypatch.undo()
    assert _saved(folder, tmp_path) == _step(1)
    folder.save_work(ID, place)
    assert _saved(folder, tmp_path) == _step(2)


def test_a_checkpoint_that_is_deleted_while_it_is_mirrored_is_no_problem(
    folder: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step writes the next one and deletes this one at any moment."""
    place = tmp_path / "work" / ID
    _checkpoint(place, 1)
    plain, copied = artifacts.copy, []

    def racing(source: Path, target: Path, *, link: bool = False) -> None:
        plain(source, target, link=link)
        copied.append(source)
        if len(copied) == 1:
            _checkpoint(place, 2)

    monkeypatch.setattr(artifacts, "copy", racing)
    folder.save_work(ID, place)
    assert _saved(folder, tmp_path) == _step(2)


def test_a_checkpoint_survives_its_deletion_during_the_upload(
    folder: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "work" / ID
    _checkpoint(place, 1)
    plain = Transport.upload

    def racing(self: Transport, source: Path, path: str, **more: Any) -> None:
        if not (place / "step-00000002").exists():
            _checkpoint(place, 2)
        plain(self, source, path, **more)

    monkeypatch.setattr(Transport, "upload", racing)
    monkeypatch.setattr(work, "parallel", lambda action, items: [action(item) for item in items])
    folder.save_work(ID, place)
    assert _saved(folder, tmp_path) == _step(1)


def _object(tmp_path: Path, data: bytes) -> Path:
    objects = tmp_path / "remote" / "preflow" / "checkpoints" / ID / "objects"
    return next(path for path in objects.iterdir() if path.read_bytes() == data)


@pytest.mark.parametrize("how", ["changed", "gone", "manifest", "manifest leads elsewhere"])
def test_damage_is_said_and_the_step_starts_fresh(
    folder: Remote, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    _checkpoint(tmp_path / "work" / ID, 1)
    folder.save_work(ID, tmp_path / "work" / ID)
    manifest = tmp_path / "remote" / "preflow" / "checkpoints" / ID / "manifest.json"
    if how == "changed":
        _object(tmp_path, b"weights 1").write_bytes(b"WEIGHTS 1")
    elif how == "gone":
        _object(tmp_path, b"weights 1").unlink()
    elif how == "manifest":
        manifest.write_text("{")
    else:
        manifest.write_text(manifest.read_text().replace("step-00000001/", "../step-00000001/"))
    assert _saved(folder, tmp_path) == {}
    said = capsys.readouterr().err
    assert said.startswith("checkpoint: ")
    assert "the step starts without it" in said


def test_what_lies_here_is_kept_unless_all_machines_must_see_the_same(folder: Remote, tmp_path: Path) -> None:
    _checkpoint(tmp_path / "work" / ID, 1)
    folder.save_work(ID, tmp_path / "work" / ID)
    here = tmp_path / "here"
    _checkpoint(here, 2)
    assert folder.load_work(ID, here) is True
    assert contents(here) == _step(1) | _step(2)
    assert folder.load_work(ID, here, exact=True) is True
    assert contents(here) == _step(1)
    folder.drop_work(ID)
    assert folder.load_work(ID, here, exact=True) is False
    assert contents(here) == {}


def test_a_single_file_is_an_entry(folder: Remote, tmp_path: Path) -> None:
    (tmp_path / "work" / ID).mkdir(parents=True)
    (tmp_path / "work" / ID / "checkpoint").write_text("half")
    folder.save_work(ID, tmp_path / "work" / ID)
    assert _saved(folder, tmp_path) == {"checkpoint": b"half"}

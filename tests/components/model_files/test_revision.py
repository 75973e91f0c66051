"""The revision of a model is known before anything is downloaded, and a path that is none is told as such."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import httpx
import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled, RepositoryNotFoundError

from components.artifacts import content_id
from components.errors import ArtifactError, ParamsError, PreflowError
from components.model_files.revision import find_revision, folder_revision, known_config, model_folder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_a_folder_has_its_content_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert find_revision(str(folder)) == content_id(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model_folder("~/model") == folder


def test_a_path_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("x")
    with pytest.raises(ParamsError, match=r"is a file .*Give the folder with config.json"):
        model_folder(str(tmp_path / "model.safetensors"))
    for source in (str(tmp_path / "nothing"), "./nothing", "~/nothing/here", "a/b/c"):
        with pytest.raises(ParamsError, match=r"there is no such folder \(got "):
            model_folder(source)
    assert model_folder("org/model") is None
    assert model_folder("gpt2") is None


def test_a_link_that_goes_round_is_told(tmp_path: Path) -> None:
    (tmp_path / "again").symlink_to(tmp_path)
    with pytest.raises(ArtifactError, match=r"again: leads nowhere"):
        folder_revision(tmp_path)


def test_a_hub_id_has_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        huggingface_hub, "HfApi", lambda: SimpleNamespace(model_info=lambda source: SimpleNamespace(sha=COMMIT))
    )
    assert find_revision("org/model") == COMMIT


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OfflineModeIsEnabled("offline"), "Add --online"),
        (RepositoryNotFoundError.__new__(RepositoryNotFoundError), r"the hub has no such model \(got org/model"),
        (httpx.ConnectError("no route"), r"the hub cannot be reached \(got no route\)"),
        (TimeoutError("too slow"), r"the hub cannot be reached \(got too slow\)"),
    ],
)
def test_why_a_hub_id_has_none_is_told(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def model_info(source: str) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(model_info=model_info))
    with pytest.raises(PreflowError, match=message):
        find_revision("org/model")


def test_the_config_of_a_folder_or_hub_id_is_known_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.json").write_text('{"n_positions": 8}')
    assert known_config(str(tmp_path), "") == {"n_positions": 8}
    asked = []

    def download(*given: str, revision: str | None) -> str:
        asked.append((*given, revision))
        return str(tmp_path / "config.json")

    def offline(*_: str, **__: str) -> str:
        raise LocalEntryNotFoundError("not in the cache")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert known_config("org/model", "abc") == {"n_positions": 8}
    assert asked == [("org/model", "config.json", "abc")]
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    assert known_config("org/model", "abc") is None

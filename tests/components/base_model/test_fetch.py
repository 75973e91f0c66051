"""Released models: pinned revision, safetensors only, a tokenizer that still encodes the same."""

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError

from components.artifacts import content_id
from components.base_model import fetch
from components.contract import Record, run_component
from components.errors import ArtifactError, ParamsError, PreflowError
from components.training.params import Compute
from components.training.runtime import load_policy
from tests.tiny import save_tiny_policy


def bring(source: str, out: Path, revision: str = "") -> Record:
    params = {"source": source, "revision": revision, "compute": {"threads": 1}}
    return run_component("base_model", params, {}, {"policy": out})


def test_local_folder_with_its_content_id(tmp_path: Path) -> None:
    """Weights are copied byte for byte; the tokenizer encodes the same; nothing about this machine gets in."""
    source = save_tiny_policy(tmp_path / "source")
    record = bring(str(source), tmp_path / "policy", content_id(source))
    assert (tmp_path / "policy/model.safetensors").read_bytes() == (source / "model.safetensors").read_bytes()
    assert record.metrics["chat_template"] == 1
    assert record.metrics["pad_token_was_missing"] == 0
    ours, theirs = (load_policy(path, Compute(threads=1))[1] for path in (tmp_path / "policy", source))
    assert ours("please write a short answer")["input_ids"] == theirs("please write a short answer")["input_ids"]
    assert ours.chat_template == theirs.chat_template
    for file in (tmp_path / "policy").glob("*.json"):
        assert str(tmp_path) not in file.read_text(encoding="utf-8")


def test_a_changed_folder_is_noticed_and_the_error_gives_the_id(tmp_path: Path) -> None:
    """Without a revision, or with that of another content, the error says what to write."""
    source = save_tiny_policy(tmp_path / "source")
    before = content_id(source)
    with pytest.raises(ParamsError, match=f"Set revision: {before}"):
        bring(str(source), tmp_path / "policy")
    (source / "note.txt").write_text("changed")
    with pytest.raises(ParamsError, match="revision: must be"):
        bring(str(source), tmp_path / "policy", before)


def test_missing_template_and_pad_token_are_counted(tmp_path: Path) -> None:
    source = save_tiny_policy(tmp_path / "source", chat_template=False)
    config = source / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"pad_token": "<pad>",', ""))
    record = bring(str(source), tmp_path / "policy", content_id(source))
    assert record.metrics["chat_template"] == 0
    assert record.metrics["pad_token_was_missing"] == 1


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    source = save_tiny_policy(tmp_path / "source")
    (source / "model.safetensors").rename(source / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match=r"no safetensors in it \(got pytorch_model.bin\).*convert them"):
        bring(str(source), tmp_path / "policy", content_id(source))


def test_an_adapter_is_refused_with_the_remedy(tmp_path: Path) -> None:
    source = save_tiny_policy(tmp_path / "source")
    (source / "config.json").rename(source / "adapter_config.json")
    with pytest.raises(ArtifactError, match="merge it into its base model"):
        bring(str(source), tmp_path / "policy", content_id(source))


class TestHub:
    """The hub, played by a folder named like a snapshot."""

    COMMIT = "0123456789abcdef0123456789abcdef01234567"

    @pytest.fixture
    def hub(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []
        snapshot = save_tiny_policy(tmp_path / "hub" / self.COMMIT)

        def download(source: str, **arguments: Any) -> str:
            calls.append({"source": source, **arguments})
            return str(snapshot)

        monkeypatch.setattr(fetch, "snapshot_download", download)
        return calls

    def test_a_commit_is_downloaded(self, hub: list[dict[str, Any]], tmp_path: Path) -> None:
        """Only safetensors and text files at the top level are asked for."""
        bring("org/model", tmp_path / "policy", self.COMMIT)
        assert hub[0]["source"] == "org/model"
        assert hub[0]["revision"] == self.COMMIT
        assert not any("bin" in pattern or "py" in pattern for pattern in hub[0]["allow_patterns"])

    @pytest.mark.parametrize("moving", ["", "main"])
    def test_a_name_that_can_move_is_refused_with_the_commit(
        self, hub: list[dict[str, Any]], tmp_path: Path, moving: str
    ) -> None:
        with pytest.raises(ParamsError, match=f"Set revision: {self.COMMIT}"):
            bring("org/model", tmp_path / "policy", moving)

    def test_no_network_may_be_retried(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """An unreachable hub is no user error: exit code 1, so that the step is tried again."""

        def download(source: str, **arguments: Any) -> str:
            raise LocalEntryNotFoundError("offline")

        monkeypatch.setattr(fetch, "snapshot_download", download)
        with pytest.raises(PreflowError, match="cannot be reached") as caught:
            bring("org/model", tmp_path / "policy", self.COMMIT)
        assert caught.value.exit_code == 1

    def test_an_unknown_model_is_a_user_error(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        def download(source: str, **arguments: Any) -> str:
            raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

        monkeypatch.setattr(fetch, "snapshot_download", download)
        with pytest.raises(ParamsError, match="the hub has no 'org/model'"):
            bring("org/model", tmp_path / "policy", self.COMMIT)

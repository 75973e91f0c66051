"""Bring a released model in: from the hub or a local folder, safetensors only, nothing executed, revision pinned."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
from transformers import AutoTokenizer

from components.artifacts import content_id
from components.errors import ArtifactError, ParamsError, PreflowError

WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
COPIED = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")
PROBES = ("Hello world", "  two spaces\n\nand lines ", "naïve café – 你好 🙂", "x=1;\tif(x){y[0]}")


def locate(source: str, revision: str) -> Path:
    """The folder of a hub id (downloaded) or local path, checked against `revision`.

    Raises ParamsError if the revision is missing or another one, PreflowError (retried) if the hub cannot be reached.
    """
    folder = Path(source)
    if folder.is_dir():
        found = content_id(folder)
        what = "the folder's content id"
    else:
        folder = _download(source, revision)
        found = folder.name
        what = "the commit"
    if found != revision:
        raise ParamsError(
            f"base_model.revision: must be {what}, so that a changed model is noticed (got '{revision}'). "
            f"Set revision: {found}."
        )
    return folder


def _download(source: str, revision: str) -> Path:
    try:
        return Path(
            snapshot_download(source, revision=revision or None, allow_patterns=WANTED, ignore_patterns=["*/*"])
        )
    except (LocalEntryNotFoundError, ConnectionError) as error:
        raise PreflowError(
            f"base_model.source: '{source}' is no local folder, and the hub cannot be reached ({_first(error)}). "
            "Check the spelling and the network, or download the model and give its folder."
        ) from error
    except (HfHubHTTPError, ValueError) as error:
        raise ParamsError(
            f"base_model.source: the hub has no '{source}' at revision '{revision}' ({_first(error)}). "
            "Check the spelling; a gated model needs HF_TOKEN."
        ) from error


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def check_files(folder: Path) -> None:
    """Raise ArtifactError unless the folder holds a full model as safetensors."""
    if not (folder / "config.json").is_file():
        hint = "Choose a folder with config.json."
        if (folder / "adapter_config.json").is_file():
            hint = "It is an adapter: merge it into its base model (peft merge_and_unload) and save that."
        raise ArtifactError(f"{folder}: no config.json in it. {hint}")
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for path in [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")])
        raise ArtifactError(
            f"{folder}: no safetensors in it (got {', '.join(pickles) or 'no weights'}). Pickled weights can run code "
            "when loaded and are refused: take a revision with safetensors, or convert them on a machine you trust "
            "(load, then save_pretrained)."
        )


def copy_model(folder: Path, output: Path) -> dict[str, Any]:
    """Copy weights and config, save the tokenizer with a pad token; returns what a reader must know about it.

    Raises ArtifactError if the saved tokenizer does not encode like the original.
    """
    check_files(folder)
    for pattern in COPIED:
        for file in sorted(folder.glob(pattern)):
            shutil.copyfile(file, output / file.name)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder}: the tokenizer cannot be loaded ({_first(error)}). Choose a model whose tokenizer "
            "transformers knows: code from the hub is never run."
        ) from error
    pad_missing = tokenizer.pad_token_id is None
    if pad_missing:
        tokenizer.pad_token = tokenizer.eos_token  # harmless: masks are made from lengths, never from ids
    tokenizer.save_pretrained(output)
    saved = AutoTokenizer.from_pretrained(output, local_files_only=True, trust_remote_code=False)
    for probe in PROBES:
        if saved(probe)["input_ids"] != tokenizer(probe)["input_ids"]:
            raise ArtifactError(
                f"{folder}: the tokenizer encodes differently after saving (text {probe!r}). "
                "Update transformers, or choose a model with a tokenizer.json."
            )
    return {"chat_template": int(bool(saved.chat_template)), "pad_token_was_missing": int(pad_missing)}

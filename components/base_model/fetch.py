"""Find a released model: a folder or a hub id at one revision, safetensors and text files only, nothing executed."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from components.errors import ParamsError, PreflowError, first_line
from components.model_files.revision import folder_revision, model_folder

WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]


def locate(source: str, revision: str) -> tuple[Path, str]:
    """(folder, revision) of a hub id (downloaded) or local path, checked against `revision`.

    Raises ParamsError if the revision is missing or another one, PreflowError (retried) if the hub cannot be reached.
    """
    folder = model_folder(source)
    if folder is not None:
        found, what = folder_revision(folder), "the folder's content id"
    else:
        folder = _download(source, revision)
        found, what = folder.name, "the commit"
    if found != revision:
        raise ParamsError(
            f"base_model.revision: must be {what}, so that a changed model is noticed (got '{revision}'). "
            f"Set revision: {found}."
        )
    return folder, found


def _download(source: str, revision: str) -> Path:
    try:
        return Path(
            snapshot_download(source, revision=revision or None, allow_patterns=WANTED, ignore_patterns=["*/*"])
        )
    except (LocalEntryNotFoundError, ConnectionError) as error:
        raise PreflowError(
            f"base_model.source: '{source}' is no local folder, and the hub cannot be reached ({first_line(error)}). "
            "Check the spelling and the network (preflow run needs --online to download), or give the model's folder."
        ) from error
    except (HfHubHTTPError, ValueError) as error:
        raise ParamsError(
            f"base_model.source: the hub has no '{source}' at revision '{revision}' ({first_line(error)}). "
            "Check the spelling; a gated model needs HF_TOKEN."
        ) from error

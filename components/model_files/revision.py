"""Which version of a model `base_model.source` names: the content id of a folder, the commit of a hub id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.artifacts import content_id
from components.errors import ArtifactError, ParamsError, PreflowError, first_line
from components.model_files.weights import read_json

LOOKS_LIKE_A_PATH = ("/", "./", "../", "~", ".\\")


def model_folder(source: str) -> Path | None:
    """The local folder that `source` names, or None if it is a hub id.

    Raises ParamsError for a path without a folder, and for a single file.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ParamsError(f"base_model.source: is a file (got {source}). Give the folder with config.json in it.")
    if source.startswith(LOOKS_LIKE_A_PATH) or source.count("/") > 1:
        raise ParamsError(
            f"base_model.source: there is no such folder (got {source}, seen from {Path.cwd()}). Check the path."
        )
    return None


def folder_revision(folder: Path) -> str:
    """The content id of a model's folder. Raises ArtifactError if a file in it cannot be read."""
    for path in folder.rglob("*"):
        around = path.is_symlink() and path.is_dir() and folder.resolve().is_relative_to(path.resolve())
        if around or not (path.is_file() or path.is_dir()):
            got = f"a link to {path.readlink()}" if path.is_symlink() else "a pipe or device"
            raise ArtifactError(
                f"{path}: leads nowhere (got {got}). Fetch the model again, or take it out of the folder."
            )
    try:
        return content_id(folder)
    except OSError as error:
        raise ArtifactError(
            f"{folder}: not all files in it can be read (got {error}). Fetch the model again, or take that file out."
        ) from error


def known_config(source: str, revision: str) -> dict[str, Any] | None:
    """The content of config.json of a folder or hub id; None if the hub's can neither be found nor fetched now.

    Raises ArtifactError for a file that cannot be read.
    """
    folder = model_folder(source)
    if folder is not None:
        return read_json(folder / "config.json")
    import httpx
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return read_json(Path(hf_hub_download(source, "config.json", revision=revision or None)))
    except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError, httpx.TransportError):
        return None  # base_model says what is wrong with it


def find_revision(source: str) -> str:
    """The revision of `source` as it is now, before anything is downloaded.

    Raises ParamsError if the hub has no such model, PreflowError if the hub may not or cannot be asked.
    """
    folder = model_folder(source)
    if folder is not None:
        return folder_revision(folder)
    import httpx  # what huggingface_hub asks with: its own errors come through
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        found = HfApi().model_info(source).sha
    except OfflineModeIsEnabled as error:
        raise ParamsError(
            f"base_model.source: is no folder, and a hub id is looked up only when that is allowed (got {source}). "
            "Add --online to preflow run, or set base_model.revision to the commit of a model that is in the cache."
        ) from error
    except (HfHubHTTPError, ValueError) as error:
        raise ParamsError(
            f"base_model.source: the hub has no such model (got {source}: {first_line(error)}). Check the spelling; a "
            "gated model needs HF_TOKEN."
        ) from error
    except (OSError, httpx.TransportError) as error:
        raise PreflowError(
            f"base_model.source: the hub cannot be reached (got {first_line(error)}). Try again, or give a folder."
        ) from error
    if not found:
        raise ParamsError(f"base_model.source: the hub names no commit (got {source}). Set base_model.revision.")
    return found

"""What is known of the model that a run starts from before anything runs: its revision, its positions, its layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import ParamsError
from components.model_files.lora import check_folder, check_tiny
from components.model_files.positions import check_new_tokens, positions
from components.model_files.revision import find_revision, model_folder

SECTION, TINY = "base_model", "tiny"


def pin_revision(params: dict[str, Any]) -> bool:
    """Write the revision of the base model into `params` where its section leaves it open; whether it was open.

    So a changed folder, or a hub id whose branch moved, is another run and not a cached one. Raises ParamsError if the
    hub may not be asked, or knows no such model.
    """
    base = params.get(SECTION) or {}
    if base.get("source", TINY) == TINY or base.get("revision"):
        return False
    params[SECTION] = {**base, "revision": find_revision(base["source"])}
    return True


def describe_base(params: Mapping[str, Any]) -> str:
    """Source and revision of the base model in one line; empty for the tiny recipe."""
    base = params.get(SECTION) or {}
    return "" if base.get("source", TINY) == TINY else f"{base['source']} at revision {base['revision']}"


def check_base(params: Mapping[str, Any]) -> None:
    """Check what other sections ask of the base model: positions for answers, layers for LoRA.

    A hub id tells nothing before it is downloaded; then the steps themselves check it before they read data. Raises
    ParamsError, and ArtifactError for a folder without a readable model.
    """
    base = params.get(SECTION) or {}
    source = base.get("source", TINY)
    folder = None if source == TINY else model_folder(source)
    limit = (base.get("tiny") or {}).get("context") if source == TINY else positions(folder) if folder else None
    for where, value in _keys(params, "sampler", "max_new_tokens"):
        if limit is not None:
            check_new_tokens(limit, value, where)
    if source == TINY or folder is not None:
        _check_lora(params, folder)


def check_held_out(params: Mapping[str, Any]) -> None:
    """What curation keeps for validation and test, no step before it may sample or learn from. Raises ParamsError."""
    curation = params.get("feedback_curation", {})
    kept = [curation.get(name) for name in ("validation", "test")]
    if not all(isinstance(share, (int, float)) for share in kept):
        return  # not all is given, or not a number: the section's own check says so
    needed = sum(kept)
    base = params.get(SECTION, {})
    before = {"response_sampling": params.get("response_sampling", {})} | (
        {SECTION: base} if base.get("source", TINY) == TINY else {}
    )
    for name, section in before.items():
        share = section.get("held_out")
        if isinstance(share, (int, float)) and share < needed - 1e-9:
            raise ParamsError(
                f"params.{name}.held_out: prompts that curation keeps for validation and test would be used before "
                f"(got {share}, feedback_curation.validation + test = {needed:g}). Set {name}.held_out={needed:g} or "
                "more."
            )


def _check_lora(params: Mapping[str, Any], folder: Path | None) -> None:
    """Against the layers of a model's folder, or of the tiny recipe. A section with a reference trains a policy."""
    ranks = dict(_keys(params, "lora", "rank"))
    for where, targets in _keys(params, "lora", "targets"):
        if ranks.get(where.replace(".targets", ".rank"), 0) > 0:
            if not isinstance(targets, (list, tuple)):
                raise ParamsError(f"{where}: a list of names (got {targets}). Write [all-linear] or names of layers.")
            has_output = "reference" in params[where.split(".")[0]]
            if folder is None:
                check_tiny(targets, where, has_output=has_output)
            else:
                check_folder(folder, targets, where, has_output=has_output)


def _keys(params: Mapping[str, Any], block: str, key: str) -> Iterator[tuple[str, Any]]:
    """(SECTION.block.key, value) of every section that has such a block."""
    for name, section in params.items():
        values = section.get(block) if isinstance(section, Mapping) else None
        if isinstance(values, Mapping) and key in values:
            yield f"{name}.{block}.{key}", values[key]

"""What is known of the model that a run starts from before anything runs: its revision, its positions, its layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.errors import ParamsError
from components.model_files.lora import check_folder, check_tiny
from components.model_files.positions import config_positions
from components.model_files.revision import find_revision, known_config, model_folder
from flows.graph import Graph
from flows.lengths import Base, check_lengths, describe_lengths

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


def describe_base(graph: Graph, params: Mapping[str, Any]) -> list[str]:
    """Lines for people: source and revision of the base model, and where its positions shorten rows."""
    base = params.get(SECTION) or {}
    named = [] if base.get("source", TINY) == TINY else [f"base model: {base['source']} at revision {base['revision']}"]
    shortened = describe_lengths(graph, params, base_positions(params))
    return named + ([shortened] if shortened else [])


def check_base(graph: Graph, params: Mapping[str, Any]) -> None:
    """Check what the steps of a flow ask of the base model: layers for LoRA, positions for rows and answers.

    A hub id tells nothing of its layers before it is downloaded: the steps check them before they read data.
    Raises ParamsError, and ArtifactError for a folder without a readable model.
    """
    base = params.get(SECTION) or {}
    source = base.get("source", TINY)
    folder = None if source == TINY else model_folder(source)
    sections = {node.section: params.get(node.section) or {} for node in graph.nodes.values()}
    for name, section in sections.items():
        lora = section.get("lora")
        if not isinstance(lora, Mapping) or not lora.get("rank") or "targets" not in lora:
            continue
        where = f"{name}.lora.targets"
        has_output = "reference" in section  # that of a policy; a reward model has a head instead
        if source == TINY:
            check_tiny(lora["targets"], where, has_output=has_output)
        elif folder is not None:
            check_folder(folder, lora["targets"], where, has_output=has_output)
    check_lengths(graph, params, base_positions(params))


def check_held_out(graph: Graph, params: Mapping[str, Any]) -> None:
    """What curation keeps for validation and test, no step before it may sample or learn from. Raises ParamsError."""
    asked = {node.section for node in graph.nodes.values()}
    curation = params.get("feedback_curation", {})
    kept = [curation.get(name) for name in ("validation", "test")]
    if not all(isinstance(share, (int, float)) for share in kept):
        return  # not all is given, or not a number: the section's own check says so
    needed = sum(kept)
    base = params.get(SECTION) or {}
    before = {"response_sampling": params.get("response_sampling", {})} | (
        {SECTION: base} if base.get("source", TINY) == TINY else {}
    )
    for name, section in before.items():
        share = section.get("held_out")
        if name in asked and isinstance(share, (int, float)) and share < needed - 1e-9:
            raise ParamsError(
                f"params.{name}.held_out: prompts that curation keeps for validation and test would be used before "
                f"(got {share}, feedback_curation.validation + test = {needed:g}). Set {name}.held_out={needed:g} or "
                "more."
            )


def base_positions(params: Mapping[str, Any]) -> Base:
    """The positions of the base model, as far as they can be known without loading or downloading it.

    Raises ArtifactError for a folder whose config.json cannot be read.
    """
    base = params.get(SECTION) or {}
    source = base.get("source", TINY)
    if source == TINY:
        context = (base.get("tiny") or {}).get("context")
        return Base(context, known=context is not None)
    config = known_config(source, base.get("revision", ""))
    return Base(known=False) if config is None else Base(config_positions(config))

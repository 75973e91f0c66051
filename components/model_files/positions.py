"""How long a sequence may be: one rule for every step, read from a model's config.json.

A row of prompt and answer may have `row_limit(folder, max_length)` tokens: the parameter, or the model's positions if
those are fewer. A prompt to be answered leaves room for all of `max_new_tokens` within the positions.

What the config names is the limit of every kind of model: beyond it one with learned positions has no vector
(IndexError), and one with rotary positions answers in a way that nobody trained, without a word. Who knows better
writes a larger number into config.json. Where distance alone counts (ALiBi), or there is a state in place of positions,
there is no limit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import ArtifactError, ParamsError
from components.model_files.weights import read_json

NAMES = (
    "max_position_embeddings",
    "n_positions",  # GPT-2, GPT-J, CodeGen
    "max_seq_len",  # MPT, DBRX
    "max_target_positions",  # decoders of speech and text
    "max_decoder_position_embeddings",
    "n_ctx",
    "model_max_length",  # Kimi Linear, Bailing
)
MOVING = ("dynamic", "longrope")
"""Rotary positions whose frequencies change for a whole batch once its longest row is longer than a given length."""


def positions(folder: Path) -> int | None:
    """Most tokens that the model of `folder` reads in one row; None if its config gives no limit (ALiBi, Mamba).

    Rotary positions that move (`MOVING`) count up to where they begin to move: beyond it the log-probabilities of a row
    would depend on the rows beside it. Raises ArtifactError if config.json cannot be read.
    """
    return config_positions(read_json(folder / "config.json"))


def config_positions(config: Mapping[str, Any]) -> int | None:
    """The same for the content of a config.json, of a text model or of one with a `text_config`."""
    inner = config.get("text_config")
    settings = [config, *([inner] if isinstance(inner, Mapping) else [])]
    limits = [limit for part in settings if (limit := _named(part)) is not None]
    limits += [limit for part in settings for rope in _rotations(part) for limit in _still(rope, part)]
    return min(limits, default=None)


def _named(config: Mapping[str, Any]) -> int | None:
    if config.get("alibi") is True:  # Falcon; MPT builds its table of distances up to max_seq_len
        return None
    found = [config[name] for name in NAMES if type(config.get(name)) is int and config[name] > 0]
    return found[0] if found else None


def _rotations(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Settings of rotary positions: one, or one for each kind of layer."""
    for name in ("rope_parameters", "rope_scaling"):
        given = config.get(name)
        if isinstance(given, Mapping):
            yield given
            yield from (part for part in given.values() if isinstance(part, Mapping))


def _still(rope: Mapping[str, Any], config: Mapping[str, Any]) -> list[int]:
    """Lengths up to which rotary positions do not depend on the batch."""
    if rope.get("rope_type", rope.get("type")) not in MOVING:
        return []
    name = "original_max_position_embeddings"
    return [int(place[name]) for place in (rope, config) if isinstance(place.get(name), int)]


def row_limit(folder: Path, max_length: int) -> int:
    """Most tokens of prompt and answer together: `max_length`, or the model's positions if they are fewer."""
    limit = positions(folder)
    return max_length if limit is None else min(max_length, limit)


def prompt_limit(folder: Path, max_new_tokens: int, where: str) -> int | None:
    """Most tokens of a prompt that is to be answered with up to `max_new_tokens`; None if there is no limit.

    Raises ParamsError, naming the parameter `where`, if there is no room for a prompt.
    """
    limit = positions(folder)
    if limit is None:
        return None
    check_new_tokens(limit, max_new_tokens, where)
    return limit - max_new_tokens


def check_new_tokens(limit: int, max_new_tokens: int, where: str) -> None:
    """Raise ParamsError if answers of `max_new_tokens` leave no room for a prompt within `limit` positions."""
    if max_new_tokens >= limit:
        raise ParamsError(
            f"{where}: leaves no room for a prompt in the model's {limit} positions (got {max_new_tokens}). "
            f"Lower it, or choose a model with more positions."
        )


def check_longest(model: Any, longest: int, what: str) -> None:
    """Raise ArtifactError if a loaded transformers model has fewer positions than the longest row needs.

    The last guard: steps keep to the limits above, and a model without positions for a row would end in an IndexError.
    """
    config = getattr(model, "config", None)
    limit = None if config is None else config_positions(config.to_dict())
    if limit is not None and longest > limit:
        raise ArtifactError(
            f"{what}: the model has fewer positions than a row has tokens (got {longest} > {limit}). Lower "
            "max_length in feedback_curation, or max_new_tokens, or use a model with more positions."
        )

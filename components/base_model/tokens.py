"""The tokenizer of a released model, and the tokens at which generation stops, as the policy will carry them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from components.base_model.template import check_template, control_tokens, settle_template, system_message, turn_end
from components.errors import ArtifactError, first_line
from components.model_files.weights import read_json
from components.sequences.tokenize import PROBES, lossy_probes

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
GENERATION = "generation_config.json"
UNUSED_ROWS, UNUSED_SHARE = 1024, 0.1
"""Embedding rows that no token has: more than both are no padding to a round number but another model's tokenizer."""


def bring_tokenizer(folder: Path, output: Path, config: Mapping[str, Any], date: str) -> dict[str, Any]:
    """Check the tokenizer, write it and the generation config to `output`; returns what a reader must know about it.

    A missing pad token becomes EOS (masks are made from lengths, never from ids). Where the chat template ends a turn
    with another control token than EOS, that token becomes EOS: it is what the model says at the end of an answer. The
    former one still ends a generation. Raises ArtifactError or ParamsError for what cannot be right.
    """
    tokenizer = _load(folder)
    _check_special(tokenizer, folder, config)
    settle_template(tokenizer, folder, date)
    former = tokenizer.eos_token
    facts: dict[str, Any] = {"chat_template": int(tokenizer.chat_template is not None)}
    facts["pad_token_was_missing"] = int(tokenizer.pad_token_id is None)
    stops, left_out = _stop_tokens(tokenizer, folder, config)
    if tokenizer.chat_template is not None:
        check_template(tokenizer, folder)
        facts["system_messages"] = system_message(tokenizer, folder)
        end = turn_end(tokenizer, folder)
        if end is not None and end != tokenizer.eos_token_id:
            tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    if facts["pad_token_was_missing"]:
        tokenizer.pad_token = former
    tokenizer.save_pretrained(output)
    _write_generation(folder, output, sorted({*stops, tokenizer.eos_token_id}))
    facts["lossy_probes"] = _check_saved(tokenizer, folder, output)
    return {**facts, "eos_token": tokenizer.eos_token, "eos_token_was": former, "stop_tokens_left_out": left_out}


def _load(folder: Path) -> Any:
    if not any((folder / name).exists() for name in TOKENIZER_FILES):
        raise ArtifactError(f"{folder}: holds no tokenizer (got none of {', '.join(TOKENIZER_FILES)}). Add its files.")
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # the tokenizers library raises nothing more special
        raise ArtifactError(
            f"{folder}: the tokenizer cannot be loaded (got {first_line(error)}). Choose a model with a whole "
            "tokenizer.json that transformers knows: code from the hub is never run."
        ) from error


def _check_special(tokenizer: Any, folder: Path, config: Mapping[str, Any]) -> None:
    """EOS is a token of its own, and the pad token that the config names exists."""
    if tokenizer.eos_token_id is None or tokenizer.eos_token_id == tokenizer.unk_token_id:
        known = ", ".join(sorted(token.content for token in tokenizer.added_tokens_decoder.values())[:8]) or "none"
        raise ArtifactError(
            f"{folder}: the tokenizer has no EOS token, so no answer could end (got {tokenizer.eos_token}). Set "
            f"eos_token in tokenizer_config.json to the token that ends an answer (control tokens: {known})."
        )
    size, pad = config.get("vocab_size"), config.get("pad_token_id")
    if isinstance(size, int) and isinstance(pad, int) and pad >= size:
        raise ArtifactError(
            f"{folder}/config.json: pad_token_id is no token of the model (got {pad}, vocab_size {size}). Set it to "
            "the tokenizer's, or to null."
        )


def _stop_tokens(tokenizer: Any, folder: Path, config: Mapping[str, Any]) -> tuple[list[int], int]:
    """(ids that end a generation, how many were left out).

    They stand in generation_config.json, or in config.json for models without one. A default of the architecture that
    is an ordinary token of this tokenizer is left out; one that a person wrote is refused.
    """
    path = folder / GENERATION
    given = read_json(path) if path.exists() else {"_from_model_config": True, **config}
    where = path if path.exists() else folder / "config.json"
    named = given.get("eos_token_id")
    ids = [] if named is None else named if isinstance(named, list) else [named]
    control, kept = control_tokens(tokenizer), [tokenizer.eos_token_id]
    for token in ids:
        if type(token) is not int:
            raise ArtifactError(f"{where}: eos_token_id must hold token ids (got {token!r}). Write the number.")
        if token in control:
            kept.append(token)
        elif not given.get("_from_model_config"):
            text = tokenizer.convert_ids_to_tokens(token) if 0 <= token < len(tokenizer) else None
            raise ArtifactError(
                f"{where}: generation would stop at an ordinary token, or at none (got eos_token_id {token}, {text!r}"
                f"). Write the id of {tokenizer.eos_token}: {tokenizer.eos_token_id}."
            )
    return kept, len([token for token in ids if token not in control])


def _write_generation(folder: Path, output: Path, stops: list[int]) -> None:
    """The generation config with these stop tokens; its bytes as they are if it says so already."""
    path = folder / GENERATION
    given = read_json(path) if path.exists() else {}
    named = given.get("eos_token_id")
    if path.exists() and sorted(named if isinstance(named, list) else [named]) == stops:
        (output / GENERATION).write_bytes(path.read_bytes())
        return
    given.pop("_from_model_config", None)  # or transformers would take the ids from config.json again
    given["eos_token_id"] = stops if len(stops) > 1 else stops[0]
    (output / GENERATION).write_text(json.dumps(given, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _check_saved(tokenizer: Any, folder: Path, output: Path) -> int:
    """How many probes do not decode to themselves. Raises ArtifactError if the saved tokenizer encodes differently."""
    saved = _load(output)
    for probe in PROBES:
        if saved(probe)["input_ids"] != tokenizer(probe)["input_ids"]:
            raise ArtifactError(
                f"{folder}: the tokenizer encodes differently after saving (text {probe!r}). "
                "Update transformers, or choose a model with a tokenizer.json."
            )
    return lossy_probes(saved)


def check_vocabulary(tokens: int, rows: int, folder: Path, last: str) -> None:
    """Raise ArtifactError unless the tokenizer fits the `rows` of the embedding (padding rows are fine).

    `tokens`: its highest id + 1; `last`: the token of that id.
    """
    if tokens > rows:
        raise ArtifactError(
            f"{folder}: the tokenizer has more tokens than the model (got {tokens} > {rows}, the last is {last}). Take "
            "both from one release, or add rows: model.resize_token_embeddings(len(tokenizer)), then save it."
        )
    unused = rows - tokens
    if unused > max(UNUSED_ROWS, UNUSED_SHARE * rows):
        raise ArtifactError(
            f"{folder}: {unused} of the model's {rows} embedding rows belong to no token, so the tokenizer is another "
            f"model's (got {tokens} tokens). Take both from one release, or cut the rows: "
            "model.resize_token_embeddings(len(tokenizer)), then save it."
        )

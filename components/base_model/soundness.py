"""What a released model computes: numbers, and nothing from the future."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from components.errors import ArtifactError, first_line
from components.model_files.weights import AGAIN, Stored, stored_tensors, weight_files
from components.training.runtime import LOADING_ERRORS

ZEROS = 0.05
"""Share of a file that ends in tensors of zeros only: a download that reserved its space and did not finish."""


def check_kind(folder: Path) -> None:
    """Raise ArtifactError unless config.json describes a causal language model that transformers has the code for."""
    try:
        config: Any = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except LOADING_ERRORS as error:
        raise ArtifactError(
            f"{folder}/config.json: describes no model that transformers {transformers.__version__} knows (got "
            f"{first_line(error)}). Mend it, or choose another model: code from the hub is never run."
        ) from error
    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False) or kind not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise ArtifactError(
            f"{folder}/config.json: is no causal language model (got model_type {kind}). Choose a decoder, one that "
            "transformers loads by AutoModelForCausalLM."
        )


def check_ends(folder: Path) -> None:
    """Raise ArtifactError if a weight file ends in tensors of nothing but zeros, or is damaged within its header."""
    stored = stored_tensors(folder)
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                zeros = {name for name in file.keys() if not file.get_tensor(name).any()}  # noqa: SIM118  (no mapping)
        except SafetensorError as error:
            raise ArtifactError(f"{path}: is not a whole safetensors file (got {error}). {AGAIN}.") from error
        _check_end({name: tensor for name, tensor in stored.items() if tensor.file == path}, zeros, path)


def check_finite(model: Any, folder: Path) -> None:
    """Raise ArtifactError if a weight that the model computes with is not a finite number, naming tensor and file."""
    stored = stored_tensors(folder)
    for name, tensor in model.state_dict().items():
        bad = ~tensor.isfinite()
        if bool(bad.any()):
            where = stored[name].file if name in stored else folder
            raise ArtifactError(
                f"{where}: {name} holds {int(bad.sum())} values that are not finite numbers (got {tensor[bad][0]}). "
                f"{AGAIN}; if they were trained so, take an earlier checkpoint."
            )


def _check_end(stored: dict[str, Stored], zeros: set[str], path: Path) -> None:
    ordered = sorted(stored, key=lambda name: stored[name].end)
    last = next((i for i, name in enumerate(reversed(ordered)) if name not in zeros), len(ordered))
    begin = stored[ordered[-last - 1]].end if last < len(ordered) else 0
    size = path.stat().st_size
    if last > 1 and size - begin > ZEROS * size:
        raise ArtifactError(
            f"{path}: ends in zeros (got {last} tensors of nothing else, from {ordered[-last]} on). The download "
            f"did not finish: {AGAIN[0].lower()}{AGAIN[1:]}."
        )


def check_tied(model: Any, folder: Path) -> None:
    """Raise ArtifactError if the config ties the output layer to the embeddings and the weights are two that differ."""
    output = model.get_output_embeddings()
    tied = getattr(model.config.get_text_config(), "tie_word_embeddings", False)
    if tied and output is not None and output.weight is not model.get_input_embeddings().weight:
        raise ArtifactError(
            f"{folder}/config.json: tie_word_embeddings is true, but the weights hold an output layer that is not the "
            "embeddings (got two different matrices). Set it to false if they were trained apart, or take the output "
            "layer's tensor out."
        )


@torch.no_grad()
def check_causal(model: Any, ids: list[int], filler: int, folder: Path) -> None:
    """Raise ArtifactError if what the model says at a token depends on later tokens, or is not a number.

    `ids`: tokens of some text, at least 8; its second half is replaced by `filler` for the second look.
    """
    half = len(ids) // 2
    device = next(model.parameters()).device
    rows = torch.tensor([ids, ids[:half] + [filler] * (len(ids) - half)], device=device)
    try:
        logits = model(input_ids=rows, attention_mask=torch.ones_like(rows), use_cache=False).logits[:, :half].float()
    except LOADING_ERRORS as error:
        raise ArtifactError(
            f"{folder}: the model cannot read a text (got {first_line(error)}). Choose one that reads text alone."
        ) from error
    if not bool(logits.isfinite().all()):
        raise ArtifactError(
            f"{folder}: the model answers a text with numbers that are not finite (got {logits.max()}). Use another."
        )
    gap, spread = float((logits[0] - logits[1]).abs().max()), float(logits.abs().max())
    if gap > 1e-4 * spread:
        raise ArtifactError(
            f"{folder}: the model reads what comes after a token to say what comes next (got {type(model).__name__}, "
            f"logits that differ by {gap:.1g}): an encoder, or attention in both directions. It cannot generate: "
            "choose a causal language model."
        )


@torch.no_grad()
def check_positions(model: Any, ids: list[int], folder: Path) -> None:
    """Raise ArtifactError if the model's own positions of a text are not 0, 1, 2, ..., which rows in a batch are given.

    RoBERTa and its kin begin behind the pad token's id: what is trained here would not be what they answer elsewhere.
    """
    row = torch.tensor([ids], device=next(model.parameters()).device)
    own = model(input_ids=row, use_cache=False).logits.float()
    given = model(input_ids=row, position_ids=torch.arange(len(ids), device=row.device)[None], use_cache=False).logits
    gap, spread = float((own - given.float()).abs().max()), float(own.abs().max())
    if gap > 1e-4 * spread:
        raise ArtifactError(
            f"{folder}: the model does not count positions from 0 (got {type(model).__name__}, logits that differ by "
            f"{gap:.1g}). It is an encoder's kind of model: choose one made to generate."
        )

"""What a released model's folder must hold, told before anything is loaded: full-precision weights, all of them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.base_model.fetch import WANTED
from components.errors import ArtifactError
from components.model_files.positions import config_positions, positions
from components.model_files.weights import INDEX, Stored, check_file, read_json, stored_tensors, weight_files

FLOATS = ("F64", "F32", "F16", "BF16")
PACKED = re.compile(
    r"\.(qweight|qzeros|scales|absmax|quant_map|weight_scale(_inv)?|weight_packed|SCB|_packed)\b|\.quant_state"
)
ADAPTED = re.compile(r"\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|base_layer|ia3_l|prompt_embeddings)\b")
HEAD = re.compile(r"(.+\.)?(v_head|value_head|reward_head|score|classifier|qa_outputs)\.")
WRAPPERS = ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "pretrained_model.")
QUANTIZED = ("quantization_config", "compression_config")
OWN_FILES = ("quantize_config.json", "quant_config.json", "quantization_config.json")


def check_files(folder: Path) -> dict[str, Any]:
    """The content of config.json, if the folder holds a full model as safetensors. Raises ArtifactError if not."""
    adapters = sorted(path.name for path in folder.glob("adapter_*") if path.is_file())
    if not (folder / "config.json").is_file():
        raise _no_config(folder, adapters)
    if adapters:
        raise ArtifactError(
            f"{folder}: an adapter lies beside the model (got {', '.join(adapters)}). Merge it (peft merge_and_unload) "
            "and save the merged model, or take the adapter out of the folder."
        )
    for pattern in WANTED:
        for path in sorted(folder.glob(pattern)):
            check_file(path)
    config = read_json(folder / "config.json")
    _refuse_quantized(folder, config)
    _check_tensors(folder, stored_tensors(folder))
    return config


def _no_config(folder: Path, adapters: list[str]) -> ArtifactError:
    if adapters:
        return ArtifactError(
            f"{folder}: holds an adapter, not a model (got {', '.join(adapters)}, no config.json). It is an adapter: "
            "merge it into its base model (peft merge_and_unload) and save that."
        )
    deeper = sorted(str(path.parent.relative_to(folder)) for path in folder.glob("**/config.json"))
    hint = f"Did you mean {folder / deeper[0]}?" if deeper else "Choose a folder with config.json."
    return ArtifactError(f"{folder}: no config.json in it. {hint}")


def _refuse_quantized(folder: Path, config: Mapping[str, Any]) -> None:
    parts = [config, *(part for part in config.values() if isinstance(part, Mapping))]
    named = [part[name] for part in parts for name in QUANTIZED if part.get(name) is not None]
    files = [name for name in OWN_FILES if (folder / name).exists()]
    if named or files:
        found = named[0] if named else files[0]
        if isinstance(found, Mapping):
            found = found.get("quant_method") or found.get("quant_type") or "a quantization_config"
        raise _quantized(folder, str(found))


def _quantized(where: Path, found: str) -> ArtifactError:
    return ArtifactError(
        f"{where}: the weights are quantized (got {found}), and only full-precision weights can be trained. Take the "
        "model's unquantized release (bf16, fp16 or fp32), or dequantize it and save that."
    )


def _check_tensors(folder: Path, tensors: Mapping[str, Stored]) -> None:
    adapters = sorted(name for name in tensors if ADAPTED.search(name))
    if adapters:
        raise ArtifactError(
            f"{folder}: holds the tensors of an adapter (got {adapters[0]}). Merge it into the model (peft "
            "merge_and_unload) and save that."
        )
    heads = sorted(name for name in tensors if HEAD.match(name))
    if heads:
        raise ArtifactError(
            f"{folder}: holds a head that gives scores, which no language model has (got {heads[0]}). Choose the "
            "policy that goes with it; if this is the policy, save it without the head."
        )
    wrapper = next((start for start in WRAPPERS if any(name.startswith(start) for name in tensors)), None)
    if wrapper:
        raise ArtifactError(
            f"{folder}: the weights were saved with what was wrapped around the model for training (got names that "
            f"begin with {wrapper}). Save the model inside: accelerator.unwrap_model(model).save_pretrained(FOLDER)."
        )
    for name, tensor in sorted(tensors.items()):
        matrix = len(tensor.shape) >= 2 and name.endswith("weight")
        if PACKED.search(name) or (matrix and tensor.dtype not in FLOATS):
            raise _quantized(tensor.file, f"{tensor.dtype} in {name}")


def copy_weights(folder: Path, output: Path) -> None:
    """Copy config.json and the weight files that make up the model, byte for byte; nothing else of the folder."""
    index = [folder / INDEX] if (folder / INDEX).exists() else []
    for file in [folder / "config.json", *index, *weight_files(folder)]:
        shutil.copyfile(file, output / file.name)


def settle_positions(output: Path, loaded: Any) -> int | None:
    """The positions of the model in `output`, whose config as transformers reads it is `loaded`.

    A config.json that leaves them to the default of its architecture gets them written in, so that every step can read
    them without transformers.
    """
    found = positions(output)
    if found is None and (found := config_positions(loaded.to_dict())) is not None:
        config = {**read_json(output / "config.json"), "max_position_embeddings": found}
        (output / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return found

"""A tiny model as somebody might bring it, damaged in one way, and a short way to bring it in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from components.artifacts import content_id
from components.contract import Record, run_component
from tests.tiny import save_tiny_policy

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def bring(folder: Path, out: Path, **params: Any) -> Record:
    """Run base_model on a local folder, whose revision is looked up; the policy is `out`."""
    revision = params.pop("revision", None) or content_id(folder)
    settings = {"source": str(folder), "revision": revision, "compute": {"threads": 1}, **params}
    return run_component("base_model", settings, {}, {"policy": out})


def source(tmp_path: Path, **config: Any) -> Path:
    return save_tiny_policy(tmp_path / "source", **config)


def change_json(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; a value of None takes the key out."""
    content = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}), encoding="utf-8")


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor] | None]) -> None:
    """Rewrite the weights by a function that returns the new tensors, or changes them in place."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file(change(tensors) or tensors, path, metadata={"format": "pt"})


def shard(folder: Path, count: int = 3) -> dict[str, str]:
    """Split the weights over `count` files with an index; returns which file holds which tensor."""
    single = folder / "model.safetensors"
    tensors, names = load_file(single), sorted(load_file(single))
    held: dict[str, str] = {}
    for i in range(count):
        name = f"model-{i + 1:05d}-of-{count:05d}.safetensors"
        save_file({key: tensors[key] for key in names[i::count]}, folder / name, metadata={"format": "pt"})
        held |= dict.fromkeys(names[i::count], name)
    single.unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": held}))
    return held

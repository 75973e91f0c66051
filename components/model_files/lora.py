"""Whether the layers that LoRA is to adapt are there, told from the names of a model's layers.

A target stands for every layer whose dotted name is the target or ends with `.target`, as in peft.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from components.errors import ParamsError
from components.model_files.weights import stored_tensors

ALL_LINEAR = "all-linear"
LLAMA = (
    *(f"self_attn.{part}_proj" for part in "qkvo"),
    *(f"mlp.{part}_proj" for part in ("gate", "up", "down")),
)
"""Layers of a block of the tiny recipe's model. Its embeddings are the output layer, too: not to be adapted."""


def check_names(targets: Collection[str], matrices: Collection[str], where: str) -> None:
    """Raise ParamsError unless every target stands for at least one of the layers `matrices` (dotted names)."""
    if isinstance(targets, str) or not targets:
        raise ParamsError(f"{where}: a list of names (got {targets!r}). Write [{ALL_LINEAR}] or names of layers.")
    if tuple(targets) == (ALL_LINEAR,):
        return
    for target in targets:
        if not any(matches(target, name) for name in matrices):
            known = sorted({name.rsplit(".", 1)[-1] for name in matrices})
            raise ParamsError(
                f"{where}: the model has no layer of this name with weights of its own to adapt (got {target}). "
                f"Choose from {', '.join(known)}, or write [{ALL_LINEAR}]."
            )


def llama_layers(blocks: int) -> set[str]:
    """Names of the layers that can be adapted of the tiny recipe's model with so many blocks."""
    return {f"model.layers.{block}.{name}" for block in range(blocks) for name in LLAMA}


def matches(target: str, name: str) -> bool:
    """Whether a target stands for the layer `name`."""
    return name == target or name.endswith(f".{target}")


def check_folder(folder: Path, targets: Collection[str], where: str) -> None:
    """The same for the model in `folder`, by the names of its stored matrices: known before anything is loaded.

    The model itself may have fewer layers of a name (it is asked again once it is loaded), never others.
    """
    found = stored_tensors(folder).items()
    check_names(
        targets, {n.removesuffix(".weight") for n, t in found if n.endswith(".weight") and len(t.shape) == 2}, where
    )

"""Whether LoRA can adapt the layers that it is to adapt, asked of the loaded model before any data are read."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from components.errors import ParamsError
from components.model_files.lora import check_names, matches
from components.training.params import Lora

ADAPTABLE = (nn.Linear, nn.Embedding, Conv1D)


def check_targets(model: Any, lora: Lora, where: str = "lora.targets") -> None:
    """Raise ParamsError for a target that the model has no layer for, or whose adapter could not be merged.

    An adapter on one of two layers that share their weights is such a case: in training it moves one layer, merged into
    the shared weights it would move both, so that the saved model would not be the trained one.
    """
    if lora.rank == 0:
        return
    layers = {name: module for name, module in model.named_modules() if isinstance(module, ADAPTABLE)}
    check_names(lora.targets, layers, where)
    for target in lora.targets:
        for name, module in layers.items():
            twin = next((n for n, m in layers.items() if m is not module and m.weight is module.weight), None)
            if twin and matches(target, name):
                raise ParamsError(
                    f"{where}: {name} shares its weights with {twin}, so an adapter on it cannot be merged without "
                    f"changing {twin}, too (got {target}). Leave it out, or bring in a model with "
                    "tie_word_embeddings: false and weights for both."
                )

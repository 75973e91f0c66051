"""Whether LoRA can adapt the layers that it is to adapt, asked of the loaded model before any data are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from components.errors import ParamsError, first_line
from components.model_files.lora import ALL_LINEAR, check_names, check_untied, matches
from components.training.lora import add_adapters, merge_adapters
from components.training.params import Lora
from components.training.saved_check import TOLERANCE

ADAPTABLE = (nn.Linear, nn.Embedding, Conv1D)
TOKENS = 8  # of the row on which merging is rehearsed


def check_targets(model: Any, lora: Lora, where: str = "lora.targets", task: str = "CAUSAL_LM") -> None:
    """Raise ParamsError for a target that the model has no layer for, or whose adapter could not be merged.

    An adapter on one of two layers that share their weights is such a case: in training it moves one layer, merged into
    the shared weights it would move both, so that the saved model would not be the trained one. Another is a layer that
    does more than its kind does (positions with an offset): merging is rehearsed on one of each such kind. The model is
    the same to the bit afterwards. `task`: as for `add_adapters`.
    """
    if lora.rank == 0:
        return
    layers = {name: module for name, module in model.named_modules() if isinstance(module, ADAPTABLE)}
    twins = {
        name: twin
        for name, module in layers.items()
        if (twin := next((n for n, m in layers.items() if m is not module and m.weight is module.weight), None))
    }
    for name, twin in twins.items():
        check_untied(lora.targets, name, twin, where)
    check_names(lora.targets, layers.keys() - twins.keys(), where)
    add_adapters(model, lora, seed=0, task=task, where=where).unload()  # what peft itself refuses
    for name in _special(model, layers, lora.targets):
        _rehearse(model, name, layers[name], lora, where)


def _special(model: Any, layers: Mapping[str, Any], targets: Iterable[str]) -> list[str]:
    """One layer to adapt of each kind that is derived from an adaptable one."""
    found: dict[type, str] = {}
    for name, module in layers.items():
        linear = not isinstance(module, nn.Embedding) and module is not model.get_output_embeddings()
        if type(module) not in ADAPTABLE and any(linear if t == ALL_LINEAR else matches(t, name) for t in targets):
            found.setdefault(type(module), name)
    return list(found.values())


@torch.no_grad()
def _rehearse(model: Any, name: str, layer: Any, lora: Lora, where: str) -> None:
    """Raise ParamsError if a random adapter on a layer gives other answers than when it is merged into its weights."""
    kept, kind, weight = layer.weight.clone(), type(layer).__name__, layer.weight
    ids = torch.arange(TOKENS, device=weight.device)[None] % model.get_input_embeddings().weight.shape[0]
    adapted = add_adapters(model, replace(lora, targets=(name,)), seed=0, task=None, where=where)
    for key, parameter in adapted.named_parameters():
        if "lora_" in key:
            parameter.normal_(std=float(kept.std()))
    try:
        said = adapted(input_ids=ids, use_cache=False).logits.float()
        merged = merge_adapters(adapted)(input_ids=ids, use_cache=False).logits.float()
        gap = float((merged - said).abs().max() / said.abs().max())
        found = "" if gap <= TOLERANCE else f"answers that differ by {gap:.1e}"
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        found = first_line(error)
    if found:
        raise ParamsError(
            f"{where}: an adapter on {name} cannot be merged, since this layer does more than a plain one (got "
            f"{kind}: {found}). Leave it out."
        )
    weight.copy_(kept)

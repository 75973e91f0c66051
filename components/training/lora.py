"""Low-rank adapters by peft: added before training, merged into the weights before the model is saved."""

from __future__ import annotations

from typing import Any

import torch

from components.errors import ParamsError, first_line
from components.training.params import Lora


def add_adapters(model: Any, lora: Lora, seed: int, task: str | None = "CAUSAL_LM", where: str = "lora.targets") -> Any:
    """The model with trainable adapters (all else frozen); itself if `lora.rank` is 0.

    The adapters start as the zero function, so the adapted model equals the base at step 0. `task` is peft's task
    type (SEQ_CLS keeps a new score head trainable). Raises ParamsError where peft cannot adapt these layers.
    """
    if lora.rank == 0:
        return model
    from peft import LoraConfig, get_peft_model  # takes seconds to import

    targets: Any = "all-linear" if lora.targets == ("all-linear",) else list(lora.targets)
    torch.manual_seed(seed)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=0.0, target_modules=targets, task_type=task)  # type: ignore[arg-type]
    try:
        return get_peft_model(model, config).eval()
    except ValueError as error:
        raise ParamsError(
            f"{where}: this model's layers cannot be adapted (got {', '.join(lora.targets)}: {first_line(error)}). "
            "Name other layers, or set lora.rank: 0."
        ) from error


def merge_adapters(model: Any) -> Any:
    """The plain transformers model with the adapters folded into its weights; itself if there are none."""
    return model.merge_and_unload() if hasattr(model, "merge_and_unload") else model

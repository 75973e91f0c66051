"""The network of a trained kind: the backbone of a policy under one linear head. Made, saved and loaded.

On disk it is what transformers calls AutoModelForSequenceClassification with D labels, so other tools can read it;
readings are computed here, because there the place of the last token is guessed from the pad id.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from components.contract import Choice
from components.errors import ArtifactError
from components.training.params import Compute
from components.training.runtime import device_of, load_model, load_policy, load_tokenizer, save_policy

NOT_ONE = "Is it a policy? Pass the output of reward_modeling, or rerun that"


def width_of(kind: Choice) -> int:
    """Values of the head."""
    return int(kind.knobs.get("width", 1))


def new_network(base: Path, kind: Choice, compute: Compute, *, seed: int) -> tuple[Any, Any]:
    """(network, tokenizer): the backbone of a policy under a fresh linear head, fp32, in eval mode.

    The head is drawn from N(0, 1 / (hidden + 1)) with its own generator. Raises ArtifactError if the policy cannot be
    loaded or its architecture has no head of this form.
    """
    policy, tokenizer = load_policy(base, compute)
    config = policy.config
    config.num_labels = width_of(kind)
    # the final EOS of every text must not be taken for padding by tools that infer it; without a pad id they refuse
    shared = tokenizer.pad_token_id == tokenizer.eos_token_id
    config.pad_token_id = None if shared else tokenizer.pad_token_id
    try:
        with torch.device("meta"):  # a frame without weights: those of the policy's backbone are moved in
            network = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    except ValueError as error:
        raise ArtifactError(
            f"{base}: transformers has no sequence classifier for this model (got {config.model_type}). Use another."
        ) from error
    if not isinstance(getattr(network, "score", None), nn.Linear):
        raise ArtifactError(
            f"{base}: the classifier of this model is not one linear layer (got {config.model_type}). Use another."
        )
    setattr(network, network.base_model_prefix, policy.base_model)
    network.score = _head(network.score.in_features, width_of(kind), seed).to(device_of(compute))
    return network.eval(), tokenizer


def _head(hidden: int, width: int, seed: int) -> nn.Linear:
    head = nn.Linear(hidden, width, bias=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.weight.copy_(torch.randn(width, hidden, generator=generator) / math.sqrt(hidden + 1))
    return head


def save_network(network: Any, tokenizer: Any, folder: Path) -> None:
    """Write config, safetensors, tokenizer and chat template; readings are bit for bit the same on reload."""
    save_policy(network, tokenizer, folder)  # the same folder layout, with another head


def load_network(path: Path, kind: Choice, compute: Compute) -> tuple[Any, Any]:
    """(network, tokenizer): safetensors only, fp32, eval mode, on the device of `compute`.

    Raises ArtifactError if it cannot be loaded, has another head than this kind has, or lacks weights or has others.
    """
    tokenizer = load_tokenizer(path)
    network = load_model(path, NOT_ONE, architecture=AutoModelForSequenceClassification)
    if network.config.num_labels != width_of(kind) or not isinstance(getattr(network, "score", None), nn.Linear):
        raise ArtifactError(
            f"{path}: a {kind.name} model has one linear head of width {width_of(kind)} (got "
            f"{network.config.num_labels} values). Pass the output of reward_modeling."
        )
    return network.to(device_of(compute)), tokenizer

"""Sharded training (FSDP2): every process holds 1/N of each weight, of its gradient and of its optimizer state.

A decoder layer is put together just before it runs and taken apart after; what is outside of the layers (embeddings,
final norm, output layer) is whole from the forward pass of the root to the end of its backward pass. Sharded modules
know nothing outside of a forward pass of their root, so whoever needs the model calls it through the root.
"""

from __future__ import annotations

import copy
import logging
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from components.training import distributed

log = logging.getLogger(__name__)

Root = TypeVar("Root", bound=nn.Module)


def shard(root: Root, device: torch.device) -> Root:
    """A sharded copy of `root`, whose own weights are taken away layer by layer (see `put_back`).

    Never more than the whole weights and this process's share of them are held.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard  # takes a second to import

    aliases: dict[int, Any] = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in root.parameters()}
    copied = copy.deepcopy(root, aliases)  # weights are shared with `root`, tied ones stay tied
    del aliases
    mesh = init_device_mesh(device.type, (distributed.world(),))
    layers = _layers(root)
    for name in reversed(layers):  # inner layers first
        fully_shard(copied.get_submodule(name), mesh=mesh)
        _empty(root.get_submodule(name))
    fully_shard(copied, mesh=mesh)
    _empty(root)
    return copied


@torch.no_grad()
def put_back(sharded: nn.Module, root: nn.Module) -> None:
    """Give `root` the weights of its sharded copy, one by one; every process gets all of them."""
    parts = dict(sharded.named_parameters())
    for name, parameter in root.named_parameters():
        full = whole(parts[name])
        parameter.data = full.new_empty(full.shape).copy_(full)


def whole(value: Tensor) -> Tensor:
    """The whole of a sharded tensor, which every process must ask for; any other tensor as it is."""
    full: Tensor = value.full_tensor() if hasattr(value, "full_tensor") else value
    return full


def like(value: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor as its parameter is: on its device and, if that is sharded, this process's share."""
    value = value.to(parameter.device)
    if not hasattr(parameter, "full_tensor") or value.shape != parameter.shape:
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(parameter, DTensor)
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def _layers(root: nn.Module) -> list[str]:
    """Names of the decoder layers: the modules that transformers says must not be split."""
    kinds = {kind for module in root.modules() for kind in getattr(module, "_no_split_modules", None) or ()}
    layers = [name for name, module in root.named_modules() if type(module).__name__ in kinds]
    if not layers:
        log.warning("sharding: the model names no layers (_no_split_modules), so all weights are whole in a step")
    return layers


@torch.no_grad()
def _empty(module: nn.Module) -> None:
    for parameter in module.parameters():
        parameter.data = parameter.data.new_empty(0)

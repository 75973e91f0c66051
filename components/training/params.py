"""Parameters shared by the components that train or score models. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from components.contract.params import EXECUTION
from components.errors import ParamsError


@dataclass(frozen=True)
class Compute:
    """Where and how precisely to compute: everything here can change bits, so it is part of the identity."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Device type; another type may round differently."""
    threads: int = 2
    """CPU threads of each process; the split of a sum over threads changes its last bits."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """fp32, or bf16 autocast over fp32 master weights; losses and log-probabilities are always fp32."""
    processes: int = 1
    """Data-parallel processes; more than one needs `torchrun --nproc_per_node N -m components run ...`."""

    def check(self) -> None:
        for name in ("threads", "processes"):
            if getattr(self, name) < 1:
                raise ParamsError(f"{name}: must be at least 1 (got {getattr(self, name)}). Use 1.")


@dataclass(frozen=True)
class Optimization:
    """AdamW and its schedule. Sizes are global: they do not change with processes or memory."""

    learning_rate: float = 1e-5
    """Peak learning rate."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """After warm-up: half a cosine to 0, a line to 0, or constant."""
    warmup: float = 0.1
    """Fraction of all steps over which the rate rises linearly from 0."""
    weight_decay: float = 0.0
    """Decoupled decay of matrices (norms and biases are never decayed)."""
    betas: tuple[float, ...] = (0.9, 0.999)
    """AdamW moment decay rates."""
    max_grad_norm: float = 1.0
    """Clip the global gradient norm to this; 0 turns clipping off."""
    batch_size: int = 16
    """Examples (a pair is one example) per optimizer step, over all processes."""
    epochs: float = 1.0
    """Passes over the training examples."""
    max_steps: int = 0
    """Stop after this many steps; 0 means by epochs."""
    micro_batch_tokens: int = 8192
    """Most tokens (padding included) in one forward pass; smaller saves memory and changes nothing but rounding."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third slower."""
    sharded: bool = False
    """Split weights, gradients and optimizer state over the processes (FSDP2) for what one device cannot hold; with
    bf16 set gradient_checkpointing too, or bf16 copies of all weights live through each step on every device."""
    checkpoint_every: int = field(default=200, metadata=EXECUTION)
    """Write a resumable checkpoint every so many steps; 0 means only when asked to stop."""

    def check(self) -> None:
        if self.learning_rate <= 0:
            raise ParamsError(f"learning_rate: must be positive (got {self.learning_rate}). Try 1.0e-5.")
        if not 0 <= self.warmup <= 1:
            raise ParamsError(f"warmup: is a fraction of all steps in [0, 1] (got {self.warmup}). Try 0.1.")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ParamsError(f"betas: two numbers in [0, 1) (got {list(self.betas)}). Try [0.9, 0.999].")
        for name in ("batch_size", "micro_batch_tokens"):
            if getattr(self, name) < 1:
                raise ParamsError(f"{name}: must be at least 1 (got {getattr(self, name)}). Raise it.")
        for name in ("weight_decay", "max_grad_norm", "max_steps", "checkpoint_every"):
            if getattr(self, name) < 0:
                raise ParamsError(f"{name}: must not be negative (got {getattr(self, name)}). Use 0 to turn it off.")
        if self.max_steps == 0 and self.epochs <= 0:
            raise ParamsError(f"epochs: must be positive when max_steps is 0 (got {self.epochs}). Set one of them.")


def check_sharding(optimization: Optimization, compute: Compute) -> None:
    """Raises ParamsError if there is nothing to shard over."""
    if optimization.sharded and compute.processes == 1:
        raise ParamsError(
            "optimization.sharded: there are no processes to split the model over (got compute.processes 1). "
            "Set compute.processes to the number of devices, or optimization.sharded: false."
        )


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters instead of full fine-tuning; merged into the weights when the model is saved."""

    rank: int = 0
    """Rank of the adapters; 0 means full fine-tuning."""
    alpha: float = 32.0
    """The update is scaled by alpha / rank."""
    targets: tuple[str, ...] = ("all-linear",)
    """Module names to adapt, or all-linear for every linear layer but the output layer; one whose adapter cannot be
    merged is refused (tied embeddings and the output layer of a policy)."""

    def check(self) -> None:
        if self.rank < 0:
            raise ParamsError(f"rank: must not be negative (got {self.rank}). Use 0 for full fine-tuning.")
        if not self.targets:
            raise ParamsError("targets: is empty (got []). Write [all-linear] or module names.")

"""Parameters of base_model."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from components.errors import ParamsError
from components.training.params import Compute, Optimization, check_sharding


@dataclass(frozen=True)
class Tiny:
    """Size of the tiny recipe's model: a Llama with tied embeddings and a byte-level BPE tokenizer."""

    vocab_size: int = 1024
    """tokens at most, the 256 bytes and 5 special tokens included"""
    hidden: int = 64
    """width of the residual stream"""
    layers: int = 2
    """transformer blocks"""
    heads: int = 4
    """attention heads; hidden / heads must be an even number"""
    kv_heads: int = 2
    """key and value heads; must divide heads"""
    context: int = 1024
    """longest conversation in tokens"""

    def check(self) -> None:
        if self.vocab_size < 261:
            raise ParamsError(
                f"vocab_size: must be at least 261 (got {self.vocab_size}). 256 bytes + 5 special tokens."
            )
        if self.heads < 1 or self.hidden % (2 * self.heads):
            raise ParamsError(f"hidden: must be a multiple of 2 x heads {self.heads} (got {self.hidden}). Change one.")
        if self.kv_heads < 1 or self.heads % self.kv_heads:
            raise ParamsError(f"kv_heads: must divide heads {self.heads} (got {self.kv_heads}). Use a divisor.")
        for name in ("layers", "context"):
            if getattr(self, name) < 1:
                raise ParamsError(f"{name}: must be at least 1 (got {getattr(self, name)}). Raise it.")


def _is_day(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass(frozen=True)
class Params:
    source: str = "tiny"
    """`tiny` (train one on the input `text`), a Hugging Face hub id, or a local folder"""
    revision: str = ""
    """hub id: the commit; local folder: its content id (the error for a missing one says what to write)"""
    date: str = ""
    """the day (YYYY-MM-DD) that a chat template writes which reads the clock; such a model is refused without one"""
    held_out: float = 0.2
    """tiny: prompts whose share (records.groups) is below this are never learned; at least validation + test"""
    tiny: Tiny = field(default_factory=Tiny)
    """size of the tiny model"""
    optimization: Optimization = field(
        default_factory=lambda: Optimization(
            learning_rate=6e-3, warmup=0.05, weight_decay=0.1, betas=(0.9, 0.98), batch_size=32, epochs=8.0
        )
    )
    """how the tiny model is trained"""
    compute: Compute = field(default_factory=Compute)
    """where and how precisely to compute"""
    seed: int = 0
    """tiny: initial weights and order of the conversations"""

    def check(self) -> None:
        check_sharding(self.optimization, self.compute)
        if not self.source:
            raise ParamsError("source: is empty (got ''). Write tiny, a hub id such as org/model, or a folder.")
        if self.date and not _is_day(self.date):
            raise ParamsError(f"date: must be a day as YYYY-MM-DD (got {self.date}). Write it like 2025-01-31.")
        if not 0 <= self.held_out < 1:
            raise ParamsError(f"held_out: must be in [0, 1) (got {self.held_out}). Give the share kept for evaluation.")

"""How to sample. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from components.errors import ParamsError


@dataclass(frozen=True)
class Sampler:
    """Everything that decides which completion a prompt gets; batch_size only decides how fast."""

    temperature: float = 1.0
    """logits are divided by it; 0 takes the most likely token"""
    top_p: float = 1.0
    """sample only from the smallest set of most likely tokens that holds this probability"""
    max_new_tokens: int = 64
    """a completion that has no end-of-sequence token by then is cut and marked `length`"""
    seed: int = 0
    """with the prompt's key and the sample's number it fixes a completion's random numbers"""
    batch_size: int = 64
    """most completions in one forward pass (the samples of one prompt always go together)"""

    def check(self) -> None:
        if self.temperature < 0:
            raise ParamsError(f"temperature: must not be negative (got {self.temperature}). Use 0 for greedy.")
        if not 0 < self.top_p <= 1:
            raise ParamsError(f"top_p: must be in (0, 1] (got {self.top_p}). Use 1 to sample from all tokens.")
        for name in ("max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ParamsError(f"{name}: must be at least 1 (got {getattr(self, name)}). Raise it.")

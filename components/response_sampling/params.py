"""Parameters of response_sampling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from components.errors import ParamsError
from components.generation.params import Sampler
from components.training.params import Compute


@dataclass(frozen=True)
class Params:
    n_prompts: int = 400
    """prompts to sample, chosen by a seeded hash (fewer if there are not that many); 0 takes all"""
    samples_per_prompt: int = 2
    """completions of each prompt"""
    held_out: float = 0.2
    """of `prompts`: those whose share (records.groups) is below this are left for evaluation; at least
    validation + test"""
    split: Literal["train", "validation", "test"] = "test"
    """of `dataset`: the split whose prompts are answered"""
    sampler: Sampler = field(default_factory=Sampler)
    """how completions are drawn"""
    compute: Compute = field(default_factory=Compute)
    """where and how precisely to compute"""
    seed: int = 0
    """chooses the prompts (the completions follow from sampler.seed)"""

    def check(self) -> None:
        if self.n_prompts < 0:
            raise ParamsError(f"n_prompts: must not be negative (got {self.n_prompts}). Use 0 for all prompts.")
        if self.samples_per_prompt < 1:
            raise ParamsError(
                f"samples_per_prompt: must be at least 1 (got {self.samples_per_prompt}). Use 2 for pairs."
            )
        if not 0 <= self.held_out < 1:
            raise ParamsError(f"held_out: must be in [0, 1) (got {self.held_out}). Give the share kept for evaluation.")

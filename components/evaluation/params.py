"""Parameters of the evaluation component. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from components.errors import ParamsError
from components.generation.params import Sampler
from components.judges import JUDGES
from components.judges.kinds import Simulated
from components.training.params import Compute


@dataclass(frozen=True)
class Params:
    """What is compared, who scores it, and how sure the numbers must be."""

    n_prompts: int = 200
    """Prompts of the test split that every system answers, chosen by hash; 0 takes all of them."""
    sampler: Sampler = field(default_factory=Sampler)
    """How answers are sampled; the same row seeds for every system. KL needs top_p 1 and a temperature above 0."""
    use_judge: bool = False
    """Ask the judge about every answer, against the reference and the champion, in both orders."""
    judge: Annotated[Any, JUDGES] = field(default_factory=Simulated)
    """Who judges; read only if use_judge is true."""
    rule: Literal["mean_p", "conservative", "net"] = "conservative"
    """How the two orders combine: mean probability, a win only if both agree, or the sign of the sum."""
    gold: Literal["", "simulated"] = ""
    """simulated: also score answers by the known truth of the simulated world; its prompts only."""
    resamples: int = 10_000
    """Bootstrap draws over prompts behind every interval."""
    showcase: int = 20
    """Prompts of the random sample in the report, fixed before any answer is looked at."""
    micro_batch_tokens: int = 8192
    """Most tokens (padding included) in one forward pass of scoring; smaller saves memory."""
    compute: Compute = field(default_factory=Compute)
    """Device, threads and precision."""
    seed: int = 0
    """Seed of the choice of prompts and of the bootstrap."""

    def check(self) -> None:
        for name, least in (("n_prompts", 0), ("showcase", 0), ("resamples", 100), ("micro_batch_tokens", 1)):
            if getattr(self, name) < least:
                raise ParamsError(f"{name}: must be at least {least} (got {getattr(self, name)}). Raise it.")
        if self.compute.processes != 1:
            raise ParamsError(
                f"compute.processes: evaluation runs in one process (got {self.compute.processes}). Set it to 1."
            )

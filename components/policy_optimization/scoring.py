"""Log-probabilities of the completions of examples, with the prompt of a pair computed once where that pays."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from components import sequences
from components.policy_optimization.data import Example
from components.training import distributed
from components.training.batching import Batch, collate, collate_shared, micro_batches
from components.training.logprobs import completion_logps, shares_prompts
from components.training.runtime import autocast

log = logging.getLogger(__name__)

SAVING = 1.2  # share prompts where separate rows would compute at least a fifth more tokens
WIDEST = 2048  # longest shared row: its attention is dense, and grows with the square of the length


@dataclass(frozen=True)
class Scorer:
    """How examples become forward passes: one for training, the reference, and validation alike."""

    shared: bool
    device: torch.device
    precision: str
    budget: int  # tokens of one micro-batch

    def tokens(self, examples: Sequence[Example]) -> int:
        """Tokens that a forward pass over these examples computes."""
        return sum(map(_shared_tokens if self.shared else _separate_tokens, examples))

    def batch(self, examples: Sequence[Example]) -> Batch:
        """Sequences side by side: all first completions, then all second ones."""
        if self.shared:
            return collate_shared([(e.prompt_ids, e.completions) for e in examples], self.device)
        sides = range(len(examples[0].completions))
        return collate(
            [sequences.Sequence(e.prompt_ids, e.completions[side]) for side in sides for e in examples], self.device
        )

    def quantities(self, model: nn.Module, examples: Sequence[Example], sides: Sequence[str]) -> dict[str, Tensor]:
        """What the policy says about each example ([B] each), and what was known before."""
        logps = completion_logps(model, self.batch(examples))
        sums, lengths = logps.sums.view(len(sides), -1), logps.lengths.view(len(sides), -1)
        found = {f"{side}_logps": sums[k] for k, side in enumerate(sides)}
        found |= {f"{side}_lengths": lengths[k] for k, side in enumerate(sides)}
        names = list(examples[0].given)
        known = torch.tensor([[e.given[name] for name in names] for e in examples], device=self.device)
        return found | {name: known[:, i] for i, name in enumerate(names)}

    @torch.no_grad()
    def sums(self, model: nn.Module, examples: Sequence[Example], title: str = "") -> np.ndarray:
        """[K, N] fp32 summed log-probabilities without gradient, shared out over the processes."""
        sides = len(examples[0].completions) if examples else 0
        table = torch.zeros(sides, len(examples), device=self.device)
        groups = micro_batches(range(len(examples)), lengths(examples), self.budget)
        first = range(0, len(groups), distributed.world())
        for start in tqdm(first, desc=title, disable=not (title and distributed.is_main()), unit="batch"):
            mine = start + distributed.rank()
            group = groups[min(mine, len(groups) - 1)]  # a sharded model needs every process in every forward pass
            with autocast(self.device, self.precision, cache=False):
                found = completion_logps(model, self.batch([examples[i] for i in group])).sums
            if mine < len(groups):
                table[:, group] = found.view(sides, -1)
        return distributed.total(table).cpu().numpy()


def lengths(examples: Sequence[Example]) -> list[int]:
    """Tokens of each example in rows of its own: what batches are formed by, so that no layout changes a batch."""
    return [_separate_tokens(example) for example in examples]


def share_prompts(choice: str, model: nn.Module, examples: Sequence[Example]) -> bool:
    """Whether to compute the prompt of each example once: a rule over token counts, then a check on the model."""
    if choice == "never" or not examples or len(examples[0].completions) == 1:
        return False
    if choice == "auto":
        together, apart = sum(map(_shared_tokens, examples)), sum(map(_separate_tokens, examples))
        if apart < SAVING * together or max(map(_shared_tokens, examples)) > WIDEST:
            return False
    return shares_prompts(model, [(e.prompt_ids, e.completions) for e in examples[:2]])


def _shared_tokens(example: Example) -> int:
    return len(example.prompt_ids) + sum(map(len, example.completions))


def _separate_tokens(example: Example) -> int:
    return len(example.completions) * (len(example.prompt_ids) + max(map(len, example.completions)))

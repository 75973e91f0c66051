"""The systems under comparison: what each answers to the held-out prompts, and what it thinks of the comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from components import sequences
from components.contract.run import Input, Inputs
from components.evaluation.params import Params
from components.evaluation.testset import TestSet
from components.generation.sample import Generation, sample
from components.sequences.tokenize import encode_pair, encode_prompt
from components.training.logprobs import sequence_logprobs
from components.training.runtime import load_policy

PORTS = {"candidate": "policy", "champion": "champion", "reference": "reference"}
"""System -> input port. The reference comes last: it also scores the answers of the others."""


@dataclass
class System:
    """One policy and everything measured with its weights in memory. Lists run over prompts or comparisons."""

    name: str
    id: str
    vocabulary: dict[str, int]
    prompt_ids: list[list[int]]
    answers: list[Generation]
    own_logps: list[list[float]] = field(default_factory=list)
    """per answer, its tokens' log-probabilities under this system at the sampling temperature"""
    reference_logps: list[list[float]] = field(default_factory=list)
    """the same under the reference; empty if its vocabulary differs"""
    chosen_logps: list[float] = field(default_factory=list)
    rejected_logps: list[float] = field(default_factory=list)
    chosen_lengths: list[int] = field(default_factory=list)
    rejected_lengths: list[int] = field(default_factory=list)
    unclean_pairs: int = 0
    """completions whose tokens do not simply continue the prompt's"""

    @property
    def texts(self) -> list[str]:
        return [answer.text for answer in self.answers]

    @property
    def lengths(self) -> list[int]:
        """Tokens per answer, EOS included if it was generated."""
        return [len(answer.token_ids) for answer in self.answers]

    @property
    def rows(self) -> list[sequences.Sequence]:
        return [
            sequences.Sequence(p, answer.token_ids) for p, answer in zip(self.prompt_ids, self.answers, strict=True)
        ]


class Tempered(nn.Module):
    """A causal language model whose logits are divided by a temperature."""

    def __init__(self, model: Any, temperature: float) -> None:
        super().__init__()
        self.model, self.temperature = model, temperature

    def get_output_embeddings(self) -> None:
        """None: nobody may go from hidden states to logits past the temperature."""

    def forward(self, **arguments: Any) -> Any:
        out = self.model(**arguments)
        out.logits = out.logits / self.temperature
        return out


def kl_is_defined(params: Params) -> bool:
    """Greedy and nucleus sampling draw from another distribution than the one whose log-probabilities are known."""
    return params.sampler.temperature > 0 and params.sampler.top_p == 1.0


def _logps(
    model: Any, rows: Sequence[sequences.Sequence], params: Params, device: torch.device, what: str
) -> list[list[float]]:
    return sequence_logprobs(
        model,
        list(rows),
        device=device,
        precision=params.compute.precision,
        micro_batch_tokens=params.micro_batch_tokens,
        progress=what,
    )


def _answer(
    name: str, item: Input, model: Any, tokenizer: Any, test: TestSet, params: Params, device: torch.device
) -> System:
    prompt_ids = [encode_prompt(tokenizer, prompt.messages) for prompt in test.prompts]
    answers = sample(
        model,
        tokenizer,
        prompt_ids,
        params.sampler,
        samples_per_prompt=1,
        keys=[prompt.key for prompt in test.prompts],
        device=device,
        precision=params.compute.precision,
        progress=f"{name}: answers",
    )
    return System(name, item.id, tokenizer.get_vocab(), prompt_ids, answers)


def _score_comparisons(
    system: System, model: Any, tokenizer: Any, test: TestSet, params: Params, device: torch.device
) -> None:
    pairs = [encode_pair(tokenizer, c.messages, text) for c in test.comparisons for text in (c.chosen, c.rejected)]
    sums = [sum(t) for t in _logps(model, [p.row for p in pairs], params, device, f"{system.name}: comparisons")]
    lengths = [len(pair.completion_ids) for pair in pairs]
    system.chosen_logps, system.rejected_logps = sums[0::2], sums[1::2]
    system.chosen_lengths, system.rejected_lengths = lengths[0::2], lengths[1::2]
    system.unclean_pairs = sum(not pair.prefix_ok for pair in pairs)


def run_systems(inputs: Inputs, test: TestSet, params: Params, device: torch.device) -> dict[str, System]:
    """Load each policy once: sample its answers, score them and the comparisons; in the order of PORTS."""
    systems: dict[str, System] = {}
    for name, port in PORTS.items():
        item = inputs.get(port)
        if item is None:
            continue
        model, tokenizer = load_policy(item.path, params.compute)
        system = _answer(name, item, model, tokenizer, test, params, device)
        _score_comparisons(system, model, tokenizer, test, params, device)
        if kl_is_defined(params):
            temperature = params.sampler.temperature
            sampled = model if temperature == 1.0 else Tempered(model, temperature)
            system.own_logps = _logps(sampled, system.rows, params, device, f"{name}: own answers")
            for other in systems.values() if name == "reference" else ():
                if other.vocabulary == system.vocabulary:
                    other.reference_logps = _logps(sampled, other.rows, params, device, f"reference: {other.name}")
        systems[name] = system
        del model
    return systems

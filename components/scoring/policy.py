"""A policy as a witness: the log-probabilities it gives to the tokens of answers and of comparisons."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Ordered
from dataclasses import dataclass
from typing import Any

from torch import nn

from components.generation.sample import stop_tokens
from components.records import Comparison
from components.scoring.material import Answers
from components.sequences import Sequence, encode_pair, encode_prompt
from components.training.logprobs import sequence_logprobs
from components.training.params import Compute
from components.training.runtime import device_of, load_policy


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


@dataclass(frozen=True)
class Likelihood:
    """Summed log-probability (nats) of a completion, its tokens (EOS included), whether they continue the prompt's."""

    logp: float
    tokens: int
    clean: bool


class PolicyWitness:
    """Log-probabilities under one policy, in the order asked."""

    def __init__(self, path: Any, compute: Compute, micro_batch_tokens: int) -> None:
        self.model, self.tokenizer = load_policy(path, compute)
        self.compute, self.micro_batch_tokens = compute, micro_batch_tokens

    def _tokens(self, model: Any, rows: Ordered[Sequence], what: str) -> list[list[float]]:
        return sequence_logprobs(
            model,
            rows,
            device=device_of(self.compute),
            precision=self.compute.precision,
            micro_batch_tokens=self.micro_batch_tokens,
            progress=what,
        )

    def speaks(self, answers: Answers) -> bool:
        """Whether the tokens of these answers are, for this policy's tokenizer, the texts that they are there for."""
        stops = stop_tokens(self.model, self.tokenizer)
        for sample in answers.samples:
            ids = list(sample.token_ids)
            if sample.finish == "eos" and ids.pop() not in stops:
                return False
            text = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
            if text != sample.completion:
                return False
        return True

    def answers(self, answers: Answers) -> list[list[float]] | None:
        """Per answer, the log-probability of each of its tokens at the temperature it was drawn with.

        None where that has no meaning: greedy and nucleus sampling draw from another distribution than the one whose
        log-probabilities are known, and tokens of another vocabulary are other texts here.
        """
        if answers.temperature == 0 or answers.top_p != 1 or not self.speaks(answers):
            return None
        model = self.model if answers.temperature == 1 else Tempered(self.model, answers.temperature)
        prompts = [encode_prompt(self.tokenizer, sample.messages) for sample in answers.samples]
        rows = [Sequence(p, list(s.token_ids)) for p, s in zip(prompts, answers.samples, strict=True)]
        return self._tokens(model, rows, f"answers {answers.id[:8]}")

    def comparisons(self, items: Ordered[Comparison]) -> Iterator[tuple[Likelihood, Likelihood]]:
        """(chosen, rejected) of every comparison; equal texts of one prompt get the same numbers."""
        encoded = [
            encode_pair(self.tokenizer, item.messages, text) for item in items for text in (item.chosen, item.rejected)
        ]
        different = {one.row.key: one.row for one in encoded}
        logps = self._tokens(self.model, list(different.values()), "comparisons")
        sums = {key: sum(tokens) for key, tokens in zip(different, logps, strict=True)}
        found = [Likelihood(sums[one.row.key], len(one.completion_ids), one.prefix_ok) for one in encoded]
        yield from zip(found[0::2], found[1::2], strict=True)

"""Sampling with a key-value cache. What a row gets does not depend on the batch it is computed in.

Each completion has its own random numbers u_0, u_1, ... in [0, 1), drawn from a counter-based generator whose key is a
hash of (sampler seed, prompt key, sample number); token t is the inverse of the cumulative distribution at u_t. Batch
mates therefore change a completion only through rounding: logits differ by about 1e-6 between batch shapes, so a token
changes only where u_t lies within about 1e-6 of a boundary (or, for temperature 0, where two logits are that close).

The samples of a prompt share its prefill, prompts of similar length share a batch, finished rows leave it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import DynamicCache

from components.errors import RecordError
from components.generation.params import Sampler
from components.model_files.positions import check_longest
from components.sequences.codec import codec_of
from components.training.runtime import autocast


@dataclass(frozen=True)
class Generation:
    """One sampled completion.

    `token_ids` as sampled, the end-of-sequence token included if there is one; keep them, text does not always encode
    back to them. `logprobs` (nats) of these tokens under softmax(logits / temperature), before top_p cuts it (greedy:
    under the untempered distribution). `finish`: "eos", or "length" if it was cut. `text` is what the assistant says:
    decoded without what the chat template writes around an answer (the final end-of-sequence token, blanks); other
    special tokens stay visible.
    """

    token_ids: list[int]
    logprobs: list[float]
    finish: str
    text: str
    seed: int


def row_seed(seed: int, key: str, sample: int) -> int:
    """The seed of one completion: 48 bits, so that it survives JSON."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{sample}:{key}".encode()).digest()[:6], "big")


def stop_tokens(model: Any, tokenizer: Any) -> set[int]:
    """Every token that ends a completion: the tokenizer's EOS and those of the generation config."""
    configured = getattr(model.generation_config, "eos_token_id", None)
    extra = configured if isinstance(configured, (list, tuple)) else [configured]
    return {int(token) for token in (tokenizer.eos_token_id, *extra) if token is not None}


def pick_tokens(logits: Tensor, uniform: Tensor, sampler: Sampler) -> tuple[Tensor, Tensor]:
    """Tokens [N] and their log-probabilities [N] (fp64) for logits [N, V] and random numbers [N] in [0, 1).

    The kept tokens stay in vocabulary order for the inverse of the cumulative distribution: sorted by probability, two
    nearly equal tokens could swap places by rounding and change what a random number picks.
    """
    logits = logits.double()
    if sampler.temperature == 0:
        tokens = logits.argmax(-1)
        return tokens, logits.log_softmax(-1).gather(1, tokens[:, None]).squeeze(1)
    logps = (logits / sampler.temperature).log_softmax(-1)
    kept = logps.exp()
    if sampler.top_p < 1:
        ordered, index = kept.sort(dim=-1, descending=True, stable=True)
        ordered[ordered.cumsum(-1) - ordered >= sampler.top_p] = 0  # the most likely token always stays
        kept = torch.zeros_like(kept).scatter_(1, index, ordered)
    cumulative = kept.cumsum(-1)
    total = cumulative[:, -1:]
    below_total = torch.nextafter(total, torch.zeros_like(total))  # rounding up to the total would pick nothing
    target = torch.minimum(uniform[:, None] * total, below_total)
    tokens = torch.searchsorted(cumulative, target, right=True).squeeze(1)
    return tokens, logps.gather(1, tokens[:, None]).squeeze(1)


class _Batch:
    """The rows of one batch while they are being generated: K samples of each of P prompts, prompt-major."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], samples: int, device: torch.device | str) -> None:
        self.model, self.device = model, device
        width, lengths = max(map(len, prompts)), [len(prompt) for prompt in prompts]
        ids = torch.zeros((len(prompts), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):  # left padding: every row's next token is in the same column
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        positions = (mask.cumsum(1) - 1).clamp(min=0).to(device)
        self.cache = DynamicCache(config=model.config)
        self.mask: Tensor | None = None if min(lengths) == width else mask.to(device)
        self.logits = self._forward(ids.to(device), positions)
        self.next_position = torch.tensor(lengths, device=device)
        self._repeat(samples)

    def _repeat(self, samples: int) -> None:
        if samples > 1:
            self.cache.batch_repeat_interleave(samples)
            self.mask = None if self.mask is None else self.mask.repeat_interleave(samples, 0)
            self.logits = self.logits.repeat_interleave(samples, 0)
            self.next_position = self.next_position.repeat_interleave(samples)

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        out = self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = out.logits[:, -1]
        return logits

    def keep(self, rows: Tensor) -> None:
        """Drop all rows but these."""
        self.cache.batch_select_indices(rows)
        self.mask = None if self.mask is None else self.mask[rows]
        self.next_position = self.next_position[rows]

    def step(self, tokens: Tensor) -> None:
        """Append one token to every row."""
        if self.mask is not None:
            self.mask = torch.cat([self.mask, self.mask.new_ones((len(tokens), 1))], 1)
        self.logits = self._forward(tokens[:, None], self.next_position[:, None])
        self.next_position = self.next_position + 1


def _generate(batch: _Batch, uniform: Tensor, stops: Tensor, sampler: Sampler) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens [N, T], log-probabilities [N, T] and lengths [N] of all rows of a batch."""
    count, limit = uniform.shape
    tokens = torch.zeros((count, limit), dtype=torch.long, device=uniform.device)
    logps = torch.zeros((count, limit), dtype=torch.float64, device=uniform.device)
    lengths = torch.full((count,), limit, device=uniform.device)
    alive = torch.arange(count, device=uniform.device)
    for t in range(limit):
        chosen, logp = pick_tokens(batch.logits, uniform[alive, t], sampler)
        tokens[alive, t], logps[alive, t] = chosen, logp
        ended = torch.isin(chosen, stops)
        lengths[alive[ended]] = t + 1
        going = (~ended).nonzero().squeeze(1)
        if len(going) == 0 or t + 1 == limit:
            break
        if len(going) < len(alive):
            batch.keep(going)
            alive, chosen = alive[going], chosen[going]
        batch.step(chosen)
    return tokens, logps, lengths


def _uniform(seeds: Sequence[int], steps: int) -> Tensor:
    """Random numbers [N, steps] in [0, 1), row i from seed i alone."""
    rows = [np.random.Generator(np.random.Philox(key=seed)).random(steps) for seed in seeds]
    return torch.from_numpy(np.stack(rows))


@torch.no_grad()
def sample(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    sampler: Sampler,
    *,
    samples_per_prompt: int = 1,
    keys: Sequence[str],
    device: torch.device | str,
    precision: str = "fp32",
    progress: str = "",
) -> list[Generation]:
    """`samples_per_prompt` completions of every prompt (token ids with the generation prompt), prompt by prompt.

    `keys[i]` names prompt i: the same key, sampler seed and sample number give the same random numbers in any run.
    Temperature 0 gives every sample of a prompt the same completion. `progress` names the progress bar.
    Raises RecordError for a prompt without tokens, ArtifactError if the answers to a prompt do not fit in the model.
    """
    if not all(prompts):
        raise RecordError("sample: a prompt has no tokens (got 0). Give plain texts a BOS token as their prompt.")
    check_longest(model, max(map(len, prompts), default=0) + sampler.max_new_tokens, "sample")
    ends = stop_tokens(model, tokenizer)
    stops = torch.tensor(sorted(ends), device=device)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))  # stable: ties keep the input order
    size = max(1, sampler.batch_size // samples_per_prompt)
    results: list[list[Generation]] = [[] for _ in prompts]
    with tqdm(total=len(prompts), desc=progress, disable=not progress, unit="prompt") as bar:
        for start in range(0, len(order), size):
            group = order[start : start + size]
            seeds = [row_seed(sampler.seed, keys[i], k) for i in group for k in range(samples_per_prompt)]
            with autocast(device, precision):
                batch = _Batch(model, [prompts[i] for i in group], samples_per_prompt, device)
                uniform = _uniform(seeds, sampler.max_new_tokens).to(device)
                tokens, logps, lengths = (part.tolist() for part in _generate(batch, uniform, stops, sampler))
            for row, seed in enumerate(seeds):
                ids, logprobs = tokens[row][: lengths[row]], logps[row][: lengths[row]]
                found = _generation(tokenizer, ids, logprobs, seed, ended=ids[-1] in ends)
                results[group[row // samples_per_prompt]].append(found)
            bar.update(len(group))
    return [generation for group_results in results for generation in group_results]


def _generation(tokenizer: Any, ids: list[int], logprobs: list[float], seed: int, *, ended: bool) -> Generation:
    codec = codec_of(tokenizer)
    text = tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    text = text.removeprefix(codec.head)
    if ended:
        text = text.removesuffix(codec.tail)
    return Generation(ids, logprobs, "eos" if ended else "length", text, seed)

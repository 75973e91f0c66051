"""Choose prompts, sample completions, write them with everything a scorer or trainer needs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from components.contract import Inputs, Metrics, Outputs, dump
from components.errors import RecordError
from components.generation.sample import Generation, sample
from components.model_files.positions import prompt_limit
from components.records import write_lines
from components.records.canonical import sha256
from components.response_sampling.params import Params
from components.response_sampling.prompts import Prompt, read_prompts
from components.sequences.tokenize import encode_prompt
from components.training.runtime import load_policy, setup


def _fitting(
    prompts: list[Prompt], tokenizer: Any, room: int | None, excluded: Counter[str]
) -> list[tuple[Prompt, list[int]]]:
    """(prompt, token ids) of the prompts that leave room for a completion; the others are counted."""
    encoded = [(prompt, encode_prompt(tokenizer, prompt[1])) for prompt in prompts]
    fitting = [item for item in encoded if room is None or len(item[1]) <= room]
    excluded["too_long"] += len(encoded) - len(fitting)
    return fitting


def _rows(prompts: list[Prompt], found: list[Generation], k: int) -> Iterator[dict[str, Any]]:
    for i, generation in enumerate(found):
        key, conversation = prompts[i // k]
        yield {
            "prompt_key": key,
            "messages": conversation,
            "sample": i % k,
            "completion": generation.text,
            "token_ids": generation.token_ids,
            "logprobs": [round(logprob, 6) for logprob in generation.logprobs],
            "finish": generation.finish,
            "seed": generation.seed,
        }


def _summary(found: list[Generation], k: int, excluded: Counter[str]) -> dict[str, Any]:
    """Counts and shares. `identical`: prompts whose samples all have one text (no pair can be made of them)."""
    lengths = [len(generation.token_ids) for generation in found]
    groups = [found[i : i + k] for i in range(0, len(found), k)]
    truncated = sum(generation.finish == "length" for generation in found)
    return {
        "n_prompts": len(groups),
        "n_samples": len(found),
        "eos_rate": round(1 - truncated / len(found), 4),
        "truncated": truncated,
        "blank": sum(not generation.text.strip() for generation in found),
        "identical": sum(len({generation.text for generation in group}) == 1 for group in groups),
        "mean_length": round(sum(lengths) / len(lengths), 2),
        "max_length": max(lengths),
        "excluded_held_out": excluded["held_out"],
        "excluded_not_text_only": excluded["not_text_only"],
        "excluded_too_long": excluded["too_long"],
    }


def run(params: Params, inputs: Inputs, outputs: Outputs) -> Metrics:
    """Write samples.jsonl and summary.json. Raises RecordError if no prompt is left to sample."""
    device = setup(params.compute, params.seed)
    model, tokenizer = load_policy(inputs["policy"].path, params.compute)
    excluded: Counter[str] = Counter()
    chosen = read_prompts(inputs, params, excluded)
    room = prompt_limit(
        inputs["policy"].path, params.sampler.max_new_tokens, "response_sampling.sampler.max_new_tokens"
    )
    fitting = _fitting(chosen, tokenizer, room, excluded)
    if not fitting:
        raise RecordError(
            f"response_sampling: no prompt is left to sample (got {len(chosen)} chosen, "
            f"excluded {dict(excluded)}). Lower held_out or max_new_tokens, or give feedback with more prompts."
        )
    prompts = [prompt for prompt, _ in fitting]
    found = sample(
        model,
        tokenizer,
        [ids for _, ids in fitting],
        params.sampler,
        samples_per_prompt=params.samples_per_prompt,
        keys=[key for key, _ in prompts],
        device=device,
        precision=params.compute.precision,
        progress="sampling",
    )
    write_lines(outputs["samples"] / "samples.jsonl", _rows(prompts, found, params.samples_per_prompt))
    metrics = _summary(found, params.samples_per_prompt, excluded)
    facts = {"policy": inputs["policy"].id, "vocabulary": sha256(tokenizer.get_vocab())}
    summary = {**facts, "sampler": dump(params.sampler), **metrics}
    (outputs["samples"] / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return metrics

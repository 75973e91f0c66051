"""What sharing prompts saves: the same pairs as separate rows, as shared rows under a dense mask, and as rows cut.

    python benchmarks/shared_prompts.py                       # CPU, fp32 and bf16
    python benchmarks/shared_prompts.py --device cuda --hidden 1024 --layers 12 --batch 32 --write

Forward and backward of one model over the same pairs, in turns in one process. What counts is the median ratio of
neighbours. Fails if the three do not compute the same.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from components.sequences import Example, Sequence
from components.training.batching import Batch
from components.training.head import head_logps
from components.training.logprobs import by_token, completion_logps
from components.training.runtime import autocast
from components.training.scorer import layout
from components.training.shared_attention import release

HERE = Path(__file__).resolve().parent
LENGTHS = ((100, 100), (300, 150), (100, 250))
CLOSE = {"fp32": 1e-2, "bf16": 3.0}  # nats of a whole completion, summed over its tokens


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true", help="write the table to benchmarks/shared_prompts.md")
    return parser.parse_args()


def pairs(prompt: int, answer: int, options: argparse.Namespace) -> list[Example]:
    """Pairs of log-normal lengths around these means."""
    numbers = random.Random(0)

    def ids(mean: int) -> list[int]:
        return [
            numbers.randrange(options.vocabulary) for _ in range(max(4, int(numbers.lognormvariate(0, 0.3) * mean)))
        ]

    found = []
    for _ in range(options.batch):
        start = ids(prompt)
        sides = (Sequence(start, ids(answer), role) for role in ("chosen", "rejected"))
        found.append(Example(tuple(sides)))
    return found


def dense(model: Any, batch: Batch) -> Tensor:
    """[N] summed log-probabilities of shared rows under one mask of [R, 1, T, T]: how it is done without cuts."""
    release(model)
    ids = batch.input_ids
    cuts, (rows, width) = batch.cuts, ids.shape
    assert cuts is not None, "shared rows have cuts"
    block = torch.zeros(rows * width, dtype=torch.long, device=ids.device)
    for n, length in enumerate(cuts.length.flatten().tolist()):
        block[cuts.query[n, :length]] = 2 + n
    block = block.view(rows, width)
    prompts = batch.position_ids.new_zeros(rows)
    prompts[cuts.query[:, 0] // width] = cuts.prompt.flatten()
    prompt = torch.arange(width, device=ids.device) < prompts[:, None]
    seen = ((block[:, :, None] == block[:, None]) | prompt[:, None]).tril()[:, None]
    hidden = model.base_model(input_ids=ids, attention_mask=seen, position_ids=batch.position_ids, use_cache=False)[0]
    head = model.get_output_embeddings()
    tokens = head_logps(hidden.flatten(0, 1)[batch.source], head.weight, head.bias, batch.targets)
    return by_token(tokens, batch).sum(1)


def cut(model: Any, batch: Batch) -> Tensor:
    return completion_logps(model, batch).sums


def measure(precision: str, lengths: tuple[int, int], options: argparse.Namespace) -> str:
    """One line of the table."""
    device = torch.device(options.device)
    torch.manual_seed(0)
    sizes = {"hidden_size": options.hidden, "intermediate_size": 688 * options.hidden // 256}
    config = LlamaConfig(
        vocab_size=options.vocabulary, num_hidden_layers=options.layers, num_attention_heads=4, **sizes
    )
    model = LlamaForCausalLM(config).eval().to(device)
    examples = pairs(*lengths, options)
    apart, together = (layout(examples, device, shared=shared).batch for shared in (False, True))
    ways: dict[str, tuple[Callable[[Any, Batch], Tensor], Batch]] = {
        "separate": (cut, apart),
        "dense": (dense, together),
        "cut": (cut, together),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(options.rounds + 1):
        said = {}
        for name, (compute, batch) in ways.items():
            spent, said[name] = _timed(model, compute, batch, precision, device)
            if turn:  # the first one warms up
                seconds[name].append(spent)
        gap = max(float((said[name] - said["separate"]).abs().max()) for name in ways)
        if gap > CLOSE[precision]:
            raise SystemExit(f"shared_prompts: not the same numbers (gap {gap:.1e} nats)")
    ratio = {
        name: statistics.median(a / b for a, b in zip(seconds[name], seconds["cut"], strict=True)) for name in ways
    }
    return (
        f"| {precision} | {lengths[0]} + {lengths[1]} | {statistics.median(seconds['cut']):.2f} | "
        f"{ratio['separate']:.2f} | {ratio['dense']:.2f} |"
    )


def _timed(model: Any, compute: Any, batch: Batch, precision: str, device: torch.device) -> tuple[float, Tensor]:
    start = time.process_time() if device.type == "cpu" else time.perf_counter()
    with autocast(device, precision):
        sums = compute(model, batch)
    (sums * torch.linspace(-1, 1, len(sums), device=device)).sum().backward()
    model.zero_grad()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.process_time() if device.type == "cpu" else time.perf_counter()) - start, sums.detach()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    where = "GPU" if options.device == "cuda" else f"CPU seconds, {options.threads} thread(s)"
    text = (
        f"{where}; Llama hidden {options.hidden}, {options.layers} layers, vocabulary {options.vocabulary}; "
        f"{options.batch} pairs, forward and backward, {options.rounds} rounds in turns.\n\n"
        "| precision | tokens: prompt + answer | cut rows, s | separate rows, times that | dense mask, times that |\n"
        "|---|---|---|---|---|\n"
    )
    for precision in ("fp32", "bf16"):
        for lengths in LENGTHS:
            text += measure(precision, lengths, options) + "\n"
    print(text)
    if options.write:
        (HERE / "shared_prompts.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

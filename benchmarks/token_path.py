"""What the axis of tokens costs: DPO from summed log-probabilities against the same DPO from [B, T] with its mask.

    python benchmarks/token_path.py                           # CPU, fp32
    python benchmarks/token_path.py --device cuda --precision bf16 --hidden 1024 --layers 12 --batch 32 --write

Both train copies of one model on the same batches with the same loss, step by step in turns in one process (A B B A),
so that neighbours share the machine's load. What counts is the median ratio of their times, and on a GPU the memory.
Fails if the losses differ by more than rounding.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from components.objectives import parse
from components.objectives.numerics import masked_sum
from components.objectives.pairwise import dpo
from components.sequences import Example, Sequence
from components.training.engine import Part, Stream
from components.training.params import Compute, Optimization
from components.training.references import Precomputed
from components.training.scorer import Scorer

HERE = Path(__file__).resolve().parent
SUMS = ("chosen_logps", "rejected_logps", "chosen_ref_logps", "rejected_ref_logps")
TOKENS = ("chosen_token_logps", "chosen_token_mask", "rejected_token_logps", "rejected_token_mask", *SUMS[2:])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=120, help="mean length of prompts and of completions")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--write", action="store_true", help="write the numbers to benchmarks/token_path.md")
    return parser.parse_args()


def token_dpo(found: dict[str, Tensor]) -> Tensor:
    """DPO as an objective on tokens writes it."""
    chosen = masked_sum(found["chosen_token_logps"], found["chosen_token_mask"]) - found["chosen_ref_logps"]
    rejected = masked_sum(found["rejected_token_logps"], found["rejected_token_mask"]) - found["rejected_ref_logps"]
    return -F.logsigmoid(0.1 * (chosen - rejected))


def sum_dpo(found: dict[str, Tensor]) -> Tensor:
    return dpo(*(found[name] for name in SUMS))


WAYS: dict[str, tuple[tuple[str, ...], Any]] = {"sums": (SUMS, sum_dpo), "tokens": (TOKENS, token_dpo)}


def examples(options: argparse.Namespace, rng: np.random.Generator) -> list[Example]:
    def ids() -> list[int]:  # log-normal lengths, as in real preference data
        count = int(np.clip(rng.lognormal(np.log(options.tokens), 0.5), 4, 4 * options.tokens))
        return rng.integers(3, options.vocabulary, count).tolist()

    made = []
    for _ in range(options.batch):
        prompt = ids()
        made.append(Example((Sequence(prompt, ids(), "chosen"), Sequence(prompt, ids(), "rejected"))))
    return made


def step(part: Part, scorer: Scorer, batch: list[Example], names: tuple[str, ...], loss: Any) -> tuple[float, float]:
    """Seconds and loss of one optimizer step."""
    needs = [parse(name, "pair") for name in names]
    known = Precomputed({one.key: -5.0 * len(one.completion_ids) for example in batch for one in example.sequences})
    synchronize(scorer.device)
    began = time.perf_counter()
    found = part.forward(lambda model: scorer.quantities(model, batch, needs, {"ref": known}))
    losses = loss(found)
    part.backward([Stream(losses, len(batch))])
    part.step(1e-5, "benchmark")
    synchronize(scorer.device)
    return time.perf_counter() - began, float(losses.detach().mean())


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Times of both ways, step by step, and the memory that each adds on a GPU."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=options.vocabulary,
        hidden_size=options.hidden,
        intermediate_size=int(options.hidden * 2.75) // 16 * 16,
        num_hidden_layers=options.layers,
        num_attention_heads=max(1, options.hidden // 64),
        num_key_value_heads=max(1, options.hidden // 64),
        max_position_embeddings=4096,
    )
    model = LlamaForCausalLM(config).to(device)
    compute = Compute(options.device, options.threads, options.precision)
    parts = {name: Part(copy.deepcopy(model), Optimization(), compute) for name in WAYS}
    scorer = Scorer(False, device, options.precision, 1 << 30)
    rng = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    memory, gap = dict.fromkeys(WAYS, 0.0), 0.0
    for number in range(options.steps + 2):
        batch, losses = examples(options, rng), {}
        for name in WAYS if number % 2 else reversed(WAYS):
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            took, losses[name] = step(parts[name], scorer, batch, *WAYS[name])
            if number >= 2:  # the first steps warm up
                seconds[name].append(took)
            if device.type == "cuda":
                memory[name] = max(memory[name], torch.cuda.max_memory_allocated(device) / 2**20)
        gap = max(gap, abs(losses["sums"] - losses["tokens"]))
    return {"seconds": seconds, "memory": memory, "gap": gap}


def main() -> None:
    options = arguments()
    found = measure(options)
    if found["gap"] > (1e-4 if options.precision == "fp32" else 5e-2):
        raise SystemExit(f"not the same work: losses differ by {found['gap']:.1e}")
    sums, tokens = found["seconds"]["sums"], found["seconds"]["tokens"]
    ratios = sorted(b / a for a, b in zip(sums, tokens, strict=True))
    name = torch.cuda.get_device_name() if options.device == "cuda" else f"CPU, {options.threads} threads"
    lines = [
        f"{name}, {options.precision}; Llama hidden {options.hidden}, {options.layers} layers, vocabulary "
        f"{options.vocabulary}; {options.batch} pairs of about {options.tokens} + {options.tokens} tokens; "
        f"{options.steps} steps in turns.",
        "",
        "| DPO from | seconds a step (median) | peak memory, MiB |",
        "|---|---|---|",
        *(
            f"| {way} | {statistics.median(found['seconds'][way]):.4f} | {found['memory'][way]:.0f} |"
            for way in found["memory"]
        ),
        f"| **ratio of neighbours** | **{statistics.median(ratios):.3f}** (quartiles {ratios[len(ratios) // 4]:.3f}, "
        f"{ratios[3 * len(ratios) // 4]:.3f}) | |",
        f"| largest difference of the losses | {found['gap']:.1e} | |",
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.write:
        path = HERE / "token_path.md"
        path.write_text((path.read_text(encoding="utf-8") + "\n" if path.exists() else "") + text, encoding="utf-8")


if __name__ == "__main__":
    main()

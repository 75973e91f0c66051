"""What a run used: rates, memory, and how near it came to the machine's measured matrix-product rate.

All of it is true of one run only, so it goes to `outputs.execution` and never into an output.
"""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import torch
from torch import nn


def matmul_peak(device: torch.device, precision: str) -> float:
    """Best measured rate (FLOP/s) of square matrix products in this precision on this device."""
    size = 1024 if device.type == "cpu" else 8192
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(3):
        _synchronize(device)
        start = time.perf_counter()
        a @ b
        _synchronize(device)
        best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return best


def training_flops(model: Any, tokens: int, completion_tokens: int) -> float:
    """6 FLOP per weight and token (forward 2, backward 4); the output layer works on completion tokens only."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    outside = {id(module.weight) for module in (head, embedding) if module is not None}
    body = sum(
        parameter.numel() for parameter in model.parameters() if parameter.ndim == 2 and id(parameter) not in outside
    )
    return 6.0 * float(body * tokens + (head.weight.numel() if isinstance(head, nn.Linear) else 0) * completion_tokens)


def peak_memory(device: torch.device) -> dict[str, int]:
    """Highest resident set of this process and, on GPU, highest allocation (bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device.type == "cuda":
        peaks["peak_cuda_bytes"] = torch.cuda.max_memory_allocated(device)
    return peaks


def report(
    precision: str, device: torch.device, *, rows: int, tokens: int, flops: float, seconds: float
) -> dict[str, float]:
    """Rates over the training loop, for `outputs.execution`."""
    seconds = max(seconds, 1e-9)
    peak = matmul_peak(device, precision)
    return {
        "train_seconds": round(seconds, 3),
        "examples_per_second": rows / seconds,
        "tokens_per_second": tokens / seconds,
        "matmul_peak_flops": peak,
        "share_of_matmul_peak": flops / seconds / peak,
        **peak_memory(device),
    }


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)

"""Work is counted from weights and tokens, by hand."""

from __future__ import annotations

import torch

from components.training.params import Compute
from components.training.throughput import report, training_flops
from tests.tiny import tiny_model


def test_flops_count_the_body_per_token_and_the_output_layer_per_completion_token() -> None:
    # hidden 8, intermediate 16, 1 layer, 4 heads of 2 with 2 kv heads, vocabulary 100
    model = tiny_model(hidden=8, layers=1, vocab=100)
    attention = 8 * 8 + 2 * (8 * 4) + 8 * 8  # q, k and v, o
    mlp = 3 * 8 * 16
    assert training_flops(model, tokens=10, completion_tokens=3) == 6 * ((attention + mlp) * 10 + 100 * 8 * 3)


def test_a_report_holds_rates_memory_and_the_share_of_the_peak() -> None:
    found = report(Compute(threads=1), torch.device("cpu"), rows=10, tokens=50, flops=1e6, seconds=2.0)
    assert found["examples_per_second"] == 5
    assert found["tokens_per_second"] == 25
    assert 0 < found["share_of_matmul_peak"] < 1
    assert found["peak_rss_bytes"] > 1 << 20

"""`scoring_check.json` of a policy: a few rows and the log-probability that the saved model gives each.

Whoever reloads the model (registration, a server, another machine) can see whether it is still the same function.
Rows are scored one by one, so the numbers do not depend on batching.
"""

from __future__ import annotations

import json
from collections.abc import Sequence as Ordered
from dataclasses import asdict
from pathlib import Path
from typing import Any

from components.sequences import Sequence
from components.training.logprobs import sequence_logprobs
from components.training.params import Compute
from components.training.runtime import device_of

FILE = "scoring_check.json"
ROWS = 16


def score(model: Any, rows: Ordered[Sequence], compute: Compute) -> list[float]:
    """Summed completion log-probability of each row."""
    tokens = sequence_logprobs(
        model, rows, device=device_of(compute), precision=compute.precision, micro_batch_tokens=1
    )
    return [sum(row) for row in tokens]


def write(folder: Path, model: Any, rows: Ordered[Sequence], compute: Compute) -> None:
    """Score the first `ROWS` rows with `model` (as reloaded from `folder`) and write the file."""
    rows = rows[:ROWS]
    items = [
        {"prompt_ids": list(row.prompt_ids), "completion_ids": list(row.completion_ids), "logprob": logprob}
        for row, logprob in zip(rows, score(model, rows, compute), strict=True)
    ]
    text = json.dumps({"compute": asdict(compute), "items": items}, indent=1) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8")
